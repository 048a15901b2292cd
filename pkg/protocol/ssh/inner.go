package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// errChannels reports that a session has all the channels that it may have.
var errChannels = errors.New("too many channels are open")

// inner is a connection through the host to a protected resource. Whoever
// serves it speaks to sockets; channels of this session carry on what goes
// through them. Nothing of it is recorded here: it is another session's, which
// knows what of it must not be kept.
type inner struct {
	session *session
	opened  ssh.NewChannel

	accepted bool
	served   context.Context // ends when it is served no more
}

// enter serves a connection to a protected resource, which was allowed.
func (s *session) enter(a *protocol.Asked, opened ssh.NewChannel, to endpoint) {
	served, end := context.WithCancel(s.ctx)
	i := &inner{session: s, opened: opened, served: served}
	var carrying sync.WaitGroup
	host, port, _ := s.known(to)
	id, err := s.conn.Inner(s.ctx, protocol.Inner{
		Operation: a.Op.ID, Host: host, Port: port, Resources: a.Op.SSH.Resources,
		Accept: func() (net.Conn, error) { return i.accept(&carrying) },
		Dial:   i.dial,
	})
	end()
	carrying.Wait()
	if i.accepted {
		s.conclude(a, protocol.Outcome{Status: protocol.OK, Tag: "session " + id})
		return
	}
	why := "it could not be served"
	var known protocol.Unserved
	if errors.As(err, &known) {
		why = known.Error()
	}
	s.conclude(a, protocol.Outcome{Status: protocol.Refused, Code: why})
	_ = opened.Reject(ssh.Prohibited, "sluice: "+why)
}

// accept returns the client's leg.
func (i *inner) accept(carrying *sync.WaitGroup) (net.Conn, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	channel, requests, err := i.session.accept(i.opened, i.session.intake)
	if err != nil {
		return nil, errors.Join(err, ours.Close(), theirs.Close())
	}
	i.accepted = true
	carrying.Go(func() { i.carry(ours, joint{channel, requests}, false) })
	return theirs, nil
}

// dial returns a server leg, which leads to where the client wanted to go.
func (i *inner) dial(ctx context.Context) (net.Conn, error) {
	if !i.session.take() {
		return nil, errChannels
	}
	came := make(chan net.Conn)
	failed := make(chan error, 1)
	i.session.wait.Go(func() {
		defer i.session.give()
		channel, requests, err := i.session.openChannel(i.session.server, i.session.ahead.intake, i.opened.ChannelType(), i.opened.ExtraData())
		if err != nil {
			failed <- err
			return
		}
		far := joint{channel, requests}
		ours, theirs, err := pair()
		if err != nil {
			failed <- err
			far.abandon()
			return
		}
		select {
		case came <- theirs:
			i.carry(ours, far, true)
		case <-ctx.Done():
			_, _ = ours.Close(), theirs.Close()
			far.abandon()
		}
	})
	select {
	case conn := <-came:
		return conn, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// abandon closes a channel that nobody uses.
func (j joint) abandon() {
	_ = j.channel.Close()
	j.channel.drop()
	discard(j.requests)
	j.channel.gone()
}

// carry joins a socket to a channel until both directions have ended, either of
// the two is closed, or the connection is served no more. hurry says that the
// last words of who served it may then be lost.
func (i *inner) carry(near *net.UnixConn, far joint, hurry bool) {
	var all sync.WaitGroup
	sent := make(chan struct{}) // all that came from the socket
	done := make(chan struct{}) // with both directions
	shut := func() {
		_ = far.channel.Close()
		far.channel.drop()
		_ = near.Close()
	}
	all.Go(func() {
		discard(far.requests) // until it is closed
		far.channel.gone()
		shut()
	})
	all.Go(func() { _, _ = io.Copy(io.Discard, far.channel.Stderr()) }) // a connection has no such stream
	all.Go(func() {
		select {
		case <-i.served.Done():
			i.linger(sent, hurry)
		case <-done:
		}
		shut()
	})
	var streams sync.WaitGroup
	streams.Go(func() {
		defer close(sent)
		if !pump(far.channel, near) || far.channel.CloseWrite() != nil {
			shut()
		}
	})
	streams.Go(func() {
		if !pump(near, far.channel) || near.CloseWrite() != nil {
			shut()
		}
	})
	streams.Wait()
	close(done)
	all.Wait()
}

// linger waits for what was said before the end.
func (i *inner) linger(sent <-chan struct{}, hurry bool) {
	var late <-chan time.Time
	if hurry {
		timer := time.NewTimer(lastWords)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-sent:
	case <-late:
	case <-i.session.ctx.Done():
	}
}

// pump copies one direction, and reports whether it came to its end: else
// nobody takes any more of it.
func pump(to io.Writer, from io.Reader) bool {
	piece := make([]byte, pieceBytes)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				return false
			}
		}
		if err != nil {
			return true
		}
	}
}
