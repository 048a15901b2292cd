package broker

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// deliverAll hands out the connections that were accepted here, until ctx ends:
// those that came while there was no proxy, and all of a proxy that cannot
// accept. Each closes when the last process that holds it lets go, and then
// resets, unless its proxy said otherwise: a kill at any point looks like one to
// the client.
func (b *Broker) deliverAll(ctx context.Context) error {
	for {
		accepted, err := b.Redirect.Accept(ctx)
		if ctx.Err() != nil || b.isRetired() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
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
	raw, err := accepted.Conn.SyscallConn()
	if err != nil {
		return err
	}
	body, err := passWhole(accepted.Origin, p.Redirect.Booted())
	if err != nil {
		return err
	}
	p.link.impatient()
	var sent error
	err = raw.Control(func(fd uintptr) { sent = p.link.send(kindAccepted, 0, body, int(fd)) })
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
