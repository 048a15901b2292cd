package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// protecting protects one address.
func protecting(host string, port uint16) func(string, uint16) ([]string, bool) {
	return func(h string, p uint16) ([]string, bool) {
		if h != host || p != port {
			return nil, false
		}
		return []string{"shop-db"}, true
	}
}

// inside has connections to the server's own address served as a test wants.
func (w *world) inside(serve func(ctx context.Context, client net.Conn, in protocol.Inner) error) {
	w.change(func(conn *protocol.Conn) {
		conn.Protected = protecting("127.0.0.1", w.server.Port())
		conn.Inner = func(ctx context.Context, in protocol.Inner) (string, error) {
			client, err := in.Accept()
			if err != nil {
				return "", err
			}
			defer client.Close()
			return "the-inner-session", serve(ctx, client, in)
		}
	})
}

// served is the plug-in itself for what is inside, as the agent would have it.
func (w *world) served(ctx context.Context, client net.Conn, in protocol.Inner) error {
	w.connMu.Lock()
	conn := w.conn
	w.connMu.Unlock()
	conn.Session = &session.Session{ID: session.NewID(), Destination: w.server}
	conn.Client, conn.Dial, conn.Guard, conn.HostKeys = client, in.Dial, w.guard, w.hostKeys
	return w.plugin.Serve(ctx, &conn)
}

// A host behind the host, as with ProxyJump: what is run there is asked about,
// recorded and refused as anywhere, and so is it behind a third.
func TestHostBehindTheHostIsInspectedToo(t *testing.T) {
	w := newWorld(t, func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if strings.Contains(string(op.Text.Reveal()), "forbidden") {
			return protocol.Decision{Rule: "no-such-thing", Reason: "Not for pipelines."}
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	w.inside(w.served)
	config := w.client + "-jump"
	text, err := os.ReadFile(w.client)
	must(t, err)
	must(t, os.WriteFile(config, fmt.Appendf(text, `Host one two
  HostName localhost
  HostKeyAlias ssh.lab
  Port %d
  GlobalKnownHostsFile %s
  UserKnownHostsFile /dev/null
  BatchMode yes
Host one
  ProxyJump ssh.lab
Host two
  ProxyJump one
`, w.server.Port(), w.path("known_hosts")), 0o600))
	for hops, host := range []string{1: "one", 2: "two"} {
		if hops == 0 {
			continue
		}
		before := len(w.guard.asked(operation.Exec))
		behind := []string{"ssh", "-F", config, host}
		out, errs, code := w.run(t, "input", append(slices.Clone(behind), "cat; echo problem >&2; exit 7")...)
		if out != "input" || !strings.Contains(errs, "problem") || code != 7 {
			t.Fatalf("%d hops: got %q, %q, %d", hops, out, errs, code)
		}
		if ran := w.guard.asked(operation.Exec)[before:]; len(ran) != 1 || string(ran[0].streams[protocol.Response]) != "input" {
			t.Errorf("%d hops: asked %v", hops, ran)
		}
		_, errs, code = w.run(t, "", append(slices.Clone(behind), "echo forbidden")...)
		if code != 1 || !strings.Contains(errs, "Not for pipelines.") {
			t.Errorf("%d hops: got %q, %d", hops, errs, code)
		}
		big, _, _ := w.run(t, "", append(slices.Clone(behind), "head -c 20000000 /dev/zero")...)
		if len(big) != 20000000 {
			t.Errorf("%d hops: %d bytes came", hops, len(big))
		}
	}
	for _, e := range w.guard.asked(operation.Forward) {
		if len(e.streams) > 0 || !slices.Equal(e.op.SSH.Resources, []string{"shop-db"}) {
			t.Errorf("of the connection itself is recorded %v, to %v", e.streams, e.op.SSH.Resources)
		}
		if e.outcome.Status != protocol.OK || e.outcome.Tag != "session the-inner-session" {
			t.Errorf("it ended as %+v", e.outcome)
		}
	}
}

// through opens a connection through the host.
func (w *world) through(t *testing.T) (*xssh.Client, net.Conn) {
	t.Helper()
	client := w.dial(t, xssh.Password("x"))
	conn, err := client.Dial("tcp", fmt.Sprintf("localhost:%d", w.server.Port()))
	must(t, err)
	return client, conn
}

// Each direction ends by itself, and what was said before the end arrives.
func TestConnectionInsideHasTwoDirections(t *testing.T) {
	w := newWorld(t, nil)
	w.inside(func(ctx context.Context, client net.Conn, in protocol.Inner) error {
		server, err := in.Dial(ctx)
		if err != nil {
			return err
		}
		defer server.Close()
		all, err := io.ReadAll(client) // until the client has no more to say
		if err != nil {
			return err
		}
		greeting := make([]byte, 4)
		if _, err := io.ReadFull(server, greeting); err != nil {
			return err
		}
		_, err = fmt.Fprintf(client, "%d %s", len(all), greeting)
		return errors.Join(err, client.(*net.UnixConn).CloseWrite())
	})
	_, conn := w.through(t)
	_, err := conn.Write(make([]byte, 3<<20))
	must(t, err)
	must(t, conn.(interface{ CloseWrite() error }).CloseWrite())
	if said, err := io.ReadAll(conn); err != nil || string(said) != fmt.Sprintf("%d SSH-", 3<<20) {
		t.Errorf("got %q, %v", said, err)
	}
}

// Whoever leaves, nobody is left behind: the world ends only when every
// session has.
func TestConnectionInsideEndsWithWhoeverLeaves(t *testing.T) {
	w := newWorld(t, nil)
	entered := make(chan struct{}, 8)
	read := func(_ context.Context, client net.Conn, _ protocol.Inner) error {
		entered <- struct{}{}
		_, err := io.Copy(io.Discard, client)
		return err
	}
	w.inside(read)
	left := func(what string) {
		t.Helper()
		waitFor(t, "the end after "+what, func() bool {
			return !slices.ContainsFunc(w.guard.asked(operation.Forward), func(e *entry) bool { e.book.mu.Lock(); defer e.book.mu.Unlock(); return !e.ended })
		})
	}
	_, conn := w.through(t)
	<-entered
	must(t, conn.Close())
	left("the client closed the connection")
	client, _ := w.through(t)
	<-entered
	must(t, client.Close())
	left("the client left")
	// One that takes nothing of what is said to it, and one who serves and goes at once.
	w.inside(func(_ context.Context, client net.Conn, _ protocol.Inner) error {
		_, err := client.Write(make([]byte, 8<<20))
		return err
	})
	client, _ = w.through(t)
	must(t, client.Close())
	left("a client that did not listen left")
	w.inside(func(context.Context, net.Conn, protocol.Inner) error { return nil })
	_, conn = w.through(t)
	if said, err := io.ReadAll(conn); len(said) > 0 || err != nil {
		t.Errorf("got %q, %v", said, err)
	}
	left("it was served no more")
	// A server leg that is open when it is served no more.
	w.inside(func(ctx context.Context, _ net.Conn, in protocol.Inner) error {
		_, err := in.Dial(ctx)
		return err
	})
	_, conn = w.through(t)
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	left("it was served no more, with a leg open")
	waitFor(t, "the server's end of that leg", func() bool { return strings.Contains(w.log(t), "Connection closed by 127.0.0.1") })
}

// The channels of a session are bounded, those that lead to a resource as well.
func TestServerLegsInsideAreCounted(t *testing.T) {
	w := newWorld(t, nil)
	counts := make(chan int, 1)
	w.inside(func(ctx context.Context, _ net.Conn, in protocol.Inner) error {
		var legs []net.Conn
		for range 200 {
			leg, err := in.Dial(ctx)
			if err != nil {
				break
			}
			legs = append(legs, leg)
		}
		counts <- len(legs)
		for _, leg := range legs {
			_ = leg.Close()
		}
		return nil
	})
	client, conn := w.through(t)
	defer conn.Close()
	if n := <-counts; n != 63 { // and the client's own
		t.Errorf("%d legs were opened", n)
	}
	_, _ = io.ReadAll(conn)
	waitFor(t, "room again", func() bool {
		session, err := client.NewSession()
		return err == nil && session.Run("true") == nil
	})
}

// A dial whose time is over leaves nothing behind, however long the host takes.
func TestDialInsideEndsInTime(t *testing.T) {
	w := newWorld(t, nil)
	w.inside(func(ctx context.Context, client net.Conn, in protocol.Inner) error {
		short, cancel := context.WithTimeout(ctx, time.Nanosecond)
		defer cancel()
		<-short.Done()
		if _, err := in.Dial(short); err == nil {
			_, _ = fmt.Fprint(client, "it was dialled")
		}
		return nil
	})
	var all sync.WaitGroup
	client := w.dial(t, xssh.Password("x"))
	for range 100 {
		all.Go(func() {
			conn, err := client.Dial("tcp", fmt.Sprintf("localhost:%d", w.server.Port()))
			if err != nil {
				return // there are too many
			}
			if said, _ := io.ReadAll(conn); len(said) > 0 {
				t.Errorf("%s", said)
			}
		})
	}
	all.Wait()
}

// Where the agent serves nobody, the client is told why, and nothing is dialled.
func TestConnectionThatIsNotServedIsRefusedInWords(t *testing.T) {
	w := newWorld(t, nil)
	w.change(func(conn *protocol.Conn) {
		conn.Protected = protecting("127.0.0.1", 5432)
		conn.Inner = func(context.Context, protocol.Inner) (string, error) {
			return "", protocol.Unserved("too many sessions are open")
		}
	})
	client := w.dial(t, xssh.Password("x"))
	if _, err := client.Dial("tcp", "localhost:5432"); err == nil || !strings.Contains(err.Error(), "sluice: too many sessions are open") {
		t.Errorf("got %v", err)
	}
	if e := w.guard.asked(operation.Forward)[0]; e.outcome.Status != protocol.Refused || e.outcome.Code != "too many sessions are open" {
		t.Errorf("it ended as %+v", e.outcome)
	}
	// A socket of the host by which the same can be reached, and a port of the host in its place.
	if _, err := client.Dial("unix", "/var/run/postgresql/.s.PGSQL.5432"); err == nil || !strings.Contains(err.Error(), "protected resource, past the agent") {
		t.Errorf("its socket: %v", err)
	}
	for _, at := range []string{"0.0.0.0:5432", "127.0.0.1:5432"} {
		if l, err := client.Listen("tcp", at); err == nil {
			t.Errorf("the host listens at %s", l.Addr())
		}
	}
	// It becomes one while somebody decides.
	protected := false
	w.guard.decide = func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		protected = op.Kind == operation.Forward
		return protocol.Decision{Effect: protocol.Allow}
	}
	w.change(func(conn *protocol.Conn) {
		conn.Protected = func(string, uint16) ([]string, bool) { return []string{"shop-db"}, protected }
	})
	if _, err := w.dial(t, xssh.Password("x")).Dial("tcp", w.server.String()); err == nil || !strings.Contains(err.Error(), "protected resource, past the agent") {
		t.Errorf("one that became protected: %v", err)
	}
}
