package httpproxy

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// door is the question whether the session may connect to its server at all,
// which is asked when the first request wants to. What is answered holds for
// all.
type door struct {
	session *Session
	turn    chan struct{} // one at a time asks

	// Under turn:
	answered bool
	refusal  *Refusal // nil: it may
}

func newDoor(s *Session) *door { return &door{session: s, turn: make(chan struct{}, 1)} }

// enter asks, or waits for what another request asked. It returns why a request
// cannot go on. Who leaves while it is asked has asked for nobody else.
func (d *door) enter(ctx context.Context) *Refusal {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return &Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: it was withdrawn"}
	}
	if d.answered {
		return d.refusal
	}
	user := d.session.conn.Credential.User
	asked, decision, err := d.session.conn.Ask(ctx, operation.Operation{
		Kind: operation.Connect, Text: operation.Text("log in as " + user), Bytes: []byte(user), Parsed: true,
	}, func(protocol.Waiting) {})
	outcome := protocol.Outcome{Status: protocol.OK}
	switch {
	case ctx.Err() != nil:
		outcome.Status = protocol.Abandoned
		d.refusal = &Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: it was withdrawn"}
	case err != nil:
		outcome.Status = protocol.Refused
		d.refusal = &Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: it could not be decided, so it is refused"}
	case decision.Effect != protocol.Allow:
		outcome.Status, d.answered = protocol.Refused, true
		d.refusal = denied(decision)
	default:
		d.answered, d.refusal = true, nil
		outcome = d.reach(ctx)
	}
	if err := asked.End(outcome); err != nil {
		d.session.Fail(err)
		return &Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: it could not be recorded"}
	}
	return d.refusal
}

// reach opens the first connection to the server, for the request that asked. A
// server that cannot be reached is tried again by the next request.
func (d *door) reach(ctx context.Context) protocol.Outcome {
	conn, err := d.session.servers.take(ctx)
	if err != nil {
		why := safely(err)
		d.session.conn.Log.Warn("A server could not be reached", zap.String("reason", why))
		return protocol.Outcome{Status: protocol.Failed, Code: why}
	}
	d.session.servers.give(conn)
	return protocol.Outcome{Status: protocol.OK}
}
