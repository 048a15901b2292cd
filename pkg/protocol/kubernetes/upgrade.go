package kubernetes

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// upgrade serves a request that opens streams.
func (s *session) upgrade(w http.ResponseWriter, r *http.Request, through *httpproxy.Session, op operation.Operation) {
	wanted, err := readSwitching(r, &op)
	if err != nil {
		var no *httpproxy.Refusal
		if !errors.As(err, &no) {
			no = &httpproxy.Refusal{Code: http.StatusBadRequest, Message: "sluice: what it wants to be upgraded to is not understood"}
		}
		refuse(w, r, no)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := context.AfterFunc(through.Context(), cancel)
	defer stop()
	u := &upgraded{session: s, through: through, wanted: wanted, w: w, r: r, ctx: ctx, cancel: cancel, left: make(chan struct{})}
	if op.Kube.Subresource == forwarding {
		u.streams = newPortForward(u)
	} else {
		u.streams = newExecution(u, op.HTTP != nil && hasTerminal(r))
	}
	u.serve(op)
}

// streams is what runs over both legs of a request that was upgraded.
type streams interface {
	// fromClient takes what the client did. It may come before begin.
	fromClient(happening) error
	// fromServer takes what the server did, after begin.
	fromServer(happening) error
	// speaks reports whether a client can be told something while it waits.
	speaks() bool
	// tell says to a client that was accepted that it waits, or no more.
	tell(text string)
	// refuse says to a client that was accepted that nothing was begun, and why.
	refuse(code int, why string) error
	// begin starts what was allowed, and has the server's leg from now on. Its
	// error says that the server takes nothing.
	begin() error
	// finish ends what runs, once no more comes from a leg, and says how it ended.
	finish() protocol.Outcome
}

// upgraded is a request on its way from HTTP to streams on both legs.
type upgraded struct {
	session *session
	through *httpproxy.Session
	wanted  switching
	streams streams
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context // ends with the client
	cancel  context.CancelFunc
	op      *protocol.Asked
	remind  protocol.Reminder

	client, server *leg
	left           chan struct{} // closed when the client's leg has ended
	wait           sync.WaitGroup
	mu             sync.Mutex
	broken         error // how a peer broke its protocol; guarded by mu
}

// serve asks, and does what was decided.
func (u *upgraded) serve(op operation.Operation) {
	defer u.report()
	defer u.wait.Wait()
	defer u.closeLegs()
	asked, decision, err := u.through.Conn().Ask(u.ctx, op, u.waits)
	u.op = asked
	if err != nil || decision.Effect != protocol.Allow {
		outcome := protocol.Outcome{Status: protocol.Refused}
		if u.ctx.Err() != nil {
			outcome.Status = protocol.Abandoned
		}
		u.end(outcome)
		code := http.StatusForbidden
		if err != nil {
			code = http.StatusServiceUnavailable
		}
		u.refuse(code, protocol.RefusalOf(decision, err))
		return
	}
	if said := decision.Release(); said != "" && u.client != nil {
		u.streams.tell(said)
	}
	if no := u.reach(); no != nil {
		u.end(protocol.Outcome{Status: protocol.Failed, Code: no.code()})
		u.refuse(no.Code, no.Message)
		return
	}
	if u.client == nil {
		if err := u.accept(u.wanted.chosen); err != nil {
			u.end(protocol.Outcome{Status: protocol.Abandoned})
			return
		}
	}
	if u.streams.begin() != nil {
		u.cancel() // the server is gone
	}
	stop := context.AfterFunc(u.ctx, u.abort)
	defer stop()
	u.blame(u.server.run(u.streams.fromServer))
	u.end(u.streams.finish())
	u.linger()
}

// abort ends what runs, when the client has left or the session ends. What waits
// for a client that takes nothing does not do so any longer.
func (u *upgraded) abort() {
	_ = u.server.conn.Close()
	_ = u.client.conn.SetWriteDeadline(time.Now().Add(lastWords))
}

// waits tells a client that it waits, which it can be told once it has streams.
func (u *upgraded) waits(why protocol.Waiting) {
	if !u.streams.speaks() {
		return
	}
	if u.client == nil {
		if u.accept(u.wanted.safest()) != nil {
			u.cancel()
			return
		}
	}
	if text := u.remind.Text(why); text != "" {
		u.streams.tell(text)
	}
}

// refuse tells the client that nothing was begun, in HTTP if that is still to be
// had.
func (u *upgraded) refuse(code int, why string) {
	if u.client == nil {
		if u.r.Context().Err() == nil {
			refuse(u.w, u.r, &httpproxy.Refusal{Code: code, Message: why})
		}
		return
	}
	if err := u.streams.refuse(code, why); err == nil {
		u.linger()
	}
}

// end ends the operation.
func (u *upgraded) end(outcome protocol.Outcome) {
	if err := u.op.End(outcome); err != nil {
		u.through.Fail(err)
	}
}

// blame notes how a peer broke its protocol, or ends the session for a fault of
// ours.
func (u *upgraded) blame(err error) {
	if err == nil || errors.Is(err, errLeft) || errors.Is(err, errOver) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken == nil {
		u.broken = err
	}
}

// report ends the session where a peer broke its protocol.
func (u *upgraded) report() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken != nil {
		u.through.Fail(u.broken)
	}
}
