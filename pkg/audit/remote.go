package audit

import (
	"errors"
	"time"

	"github.com/sluicegate/sluice/pkg/spool"
)

// receiptWait is how long an operation waits for the collector's receipt. With
// the collector away each operation is refused after it.
const receiptWait = 10 * time.Second

// ErrUnreceived reports that the collector gave no receipt in time.
var ErrUnreceived = errors.New("the collector has not confirmed the record in time")

// settle waits until the record at position, and all before it, are as durable
// as configured: on stable storage, and in the collector when the log is
// remote.
func (l *Log) settle(position spool.Position) error {
	if err := l.settleHere(position); err != nil {
		return l.elsewhere(err, func(next heir) error { return next.settle(position) })
	}
	return nil
}

func (l *Log) settleHere(position spool.Position) error {
	if err := l.cfg.Spool.Sync(position); err != nil {
		return err
	}
	if !l.cfg.Remote {
		return nil
	}
	l.write.mu.Lock()
	next := l.write.next
	l.write.mu.Unlock()
	return l.awaitReceipt(next)
}

// awaitReceipt waits until the collector has every record before next.
func (l *Log) awaitReceipt(next uint64) error {
	deadline := time.NewTimer(receiptWait)
	defer deadline.Stop()
	for {
		l.mu.Lock()
		have, grown := l.received >= next, l.grown
		l.mu.Unlock()
		if have {
			return nil
		}
		poke(l.kick)
		select {
		case <-grown:
		case <-l.leaving: // the receipt is another process's
			return ErrUnreceived
		case <-deadline.C:
			return ErrUnreceived
		}
	}
}

// receive notes that the collector has every record of this epoch before upTo.
// mu is held.
func (l *Log) receive(upTo uint64) {
	if upTo > l.received {
		l.received = upTo
		close(l.grown)
		l.grown = make(chan struct{})
	}
}
