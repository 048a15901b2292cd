package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/destination"
)

// maxUnheard is how many tables may be on their way to a proxy.
const maxUnheard = 16

// Publish tells every proxy where protected destinations lead from now on, this
// one and those that come, and waits until they know. A proxy that cannot be
// told is as good as dead. Connections that are accepted later are served by the
// new table, so that it is published before it is in force: whoever connects in
// between to what only the new one has goes past the agent, as before, and is
// not served as another's.
func (b *Broker) Publish(table destination.Table) error {
	encoded, err := json.Marshal(table)
	if err != nil {
		return fmt.Errorf("publish destinations: %w", err)
	}
	b.telling.Lock()
	defer b.telling.Unlock()
	b.table = encoded
	for p := range b.told {
		err := p.tellTable(encoded)
		if err == nil {
			err = p.awaitTable()
		}
		if err != nil {
			p.fail(fmt.Errorf("hand over destinations: %w", err))
		}
	}
	return nil
}

// awaitTable waits until the table that was sent last is in force in the proxy,
// or that has ended. The caller holds telling.
func (p *proxy) awaitTable() error {
	timer := time.NewTimer(sendWait)
	defer timer.Stop()
	for {
		select {
		case number := <-p.heard:
			if number == p.tables {
				return nil
			}
		case <-p.ended:
			return nil
		case <-timer.C:
			return errors.New("it does not take them")
		}
	}
}

// isTold takes the proxy's word for a table.
func (p *proxy) isTold(said packet) error {
	if err := empty(said.body); err != nil {
		return err
	}
	select {
	case p.heard <- said.number:
		return nil
	default:
		return errMalformed
	}
}

// welcome gives a proxy the table, and each that comes later.
func (b *Broker) welcome(p *proxy) error {
	b.telling.Lock()
	defer b.telling.Unlock()
	b.told[p] = true
	if b.table == nil {
		return nil
	}
	return p.tellTable(b.table)
}

// part stops telling a proxy that is gone.
func (b *Broker) part(p *proxy) {
	b.telling.Lock()
	defer b.telling.Unlock()
	delete(b.told, p)
}

func (p *proxy) tellTable(encoded []byte) error {
	file, err := memory(encoded)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // the proxy has its own descriptor
	p.tables++
	p.link.impatient()
	return p.link.send(kindTable, p.tables, nil, int(file.Fd()))
}
