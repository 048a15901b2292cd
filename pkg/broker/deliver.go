package broker

import (
	"context"
	"errors"
	"fmt"
	"net"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// deliverAll hands out connections until ctx ends. Each closes when the last
// process that holds it lets go, and then resets, unless its proxy said
// otherwise: a kill at any point looks like one to the client.
func (b *Broker) deliverAll(ctx context.Context) error {
	for {
		accepted, err := b.Redirect.Accept(ctx)
		if ctx.Err() != nil || b.isRetired() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		_ = accepted.Conn.SetLinger(0) // fails on a connection that is gone already
		for p := b.await(ctx); p != nil && !p.deliver(accepted); p = b.await(ctx) {
		}
		_ = accepted.Conn.Close() // the proxy has its own descriptor, or nobody wants it
	}
}

// deliver hands one connection to the proxy. It reports false if that fails:
// the proxy is as good as dead then, and the connection waits for the next.
func (p *proxy) deliver(accepted *redirect.Accepted) bool {
	err := p.tryDeliver(accepted)
	if err != nil {
		p.dismiss(p)
		p.fail(fmt.Errorf("hand over a connection: %w", err))
	}
	return err == nil
}

func (p *proxy) tryDeliver(accepted *redirect.Accepted) error {
	socket, err := p.Redirect.Socket(accepted.Origin.Destination.Addr())
	if err != nil {
		// The machine's want, not the proxy's fault: this connection is reset.
		p.Log.Warn("A connection was reset for want of a server leg", zap.Error(err))
		return nil
	}
	defer unix.Close(socket) //nolint:errcheck // the proxy has its own descriptor
	raw, err := accepted.Conn.SyscallConn()
	if err != nil {
		return err
	}
	what := pass(accepted.Origin, p.booted)
	p.budget.earn()
	p.seen.add(process{PID: what.PID, SinceBoot: what.SinceBoot})
	p.link.impatient()
	var sent error
	err = raw.Control(func(fd uintptr) { sent = p.link.send(kindAccepted, 0, pack(nil, what), int(fd), socket) })
	if errors.Is(err, net.ErrClosed) {
		return nil // by the peer's reset
	}
	return errors.Join(err, sent)
}

// tell hands one alert to the proxy.
func (p *proxy) tell(a redirect.Alert) error {
	p.link.impatient()
	text := string(a.Kind) + "\n" + a.Detail
	return p.link.send(kindAlert, 0, append(pack(nil, alert(a)), text[:min(len(text), maxPath)]...))
}

// tellAll hands over alerts, as interception raises them.
func (p *proxy) tellAll(ctx context.Context, waiting []redirect.Alert) {
	for {
		for _, a := range waiting {
			if err := p.tell(a); err != nil {
				p.remember(a)
				p.fail(fmt.Errorf("hand over an alert: %w", err))
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case a := <-p.Redirect.Alerts():
			waiting = []redirect.Alert{a}
		}
	}
}
