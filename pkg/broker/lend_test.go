package broker

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/redirect"
)

// accepting is a proxy in this process, which accepts by itself.
func (n *node) accepting(t *testing.T) (*proxy, *Client, chan *Accepted) {
	t.Helper()
	ours, theirs, err := pair()
	must(t, err)
	b, _, _ := n.broker(t, "", "")
	p := b.proxy(ours)
	p.cmd = &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}
	ctx, fail := context.WithCancelCause(t.Context())
	p.fail = fail
	records, err := n.kernel.OpenRecords()
	must(t, err)
	client, err := Attach(theirs, records, func() {})
	must(t, err)
	background(t, func(context.Context) error {
		_ = p.listen(ctx) // until the client closes
		fail(nil)
		p.answering.Wait()
		return nil
	})
	later(t, client.Close)
	background(t, b.deliverAll)
	accepted := make(chan *Accepted, 16)
	must(t, client.Ready(t.Context(), func(a *Accepted) { accepted <- a }))
	eventually(t, "listeners are lent", func() bool {
		client.listeners.mu.Lock()
		defer client.listeners.mu.Unlock()
		return len(client.listeners.cookies) > 0
	})
	return p, client, accepted
}

// next is the connection that comes next.
func next(t *testing.T, from chan *Accepted) *Accepted {
	t.Helper()
	select {
	case a := <-from:
		t.Cleanup(func() { _ = a.Close() })
		return a
	case <-time.After(patience):
		t.Fatal("no connection comes")
		return nil
	}
}

func TestProxyAcceptsByItself(t *testing.T) {
	n := newNode(t, nil)
	p, client, accepted := n.accepting(t)
	_ = n.dial(t)
	if a := next(t, accepted); a.Origin.Destination != n.server || int(a.Origin.PID) != os.Getpid() {
		t.Errorf("the connection is %+v", a.Origin)
	}
	eventually(t, "the self-test succeeds", func() bool { return n.kernel.Healthy() == nil })

	client.listeners.rest()
	p.dismiss(p)
	_ = n.dial(t) // waits for whoever serves next
	p.appoint(p)
	next(t, accepted)
}

// TestProxyRefusesWhatHasNoRecord connects with a flagged socket, as nobody else
// can, straight to the listener of this process's own namespace.
func TestProxyRefusesWhatHasNoRecord(t *testing.T) {
	n := newNode(t, nil)
	_, client, accepted := n.accepting(t)
	conn, err := net.DialTimeout("tcp", n.server.String(), patience) // now there is a listener here
	must(t, err)
	defer conn.Close()
	listener := next(t, accepted).Conn.LocalAddr().(*net.TCPAddr).AddrPort()
	fd, err := n.kernel.Socket(listener.Addr())
	must(t, err)
	forged, err := redirect.Connect(t.Context(), fd, listener)
	if err == nil {
		must(t, forged.SetDeadline(time.Now().Add(patience)))
		_, err = forged.Read(make([]byte, 1))
		_ = forged.Close()
	}
	if !isReset(err) {
		t.Errorf("it is served: %v", err)
	}
	select {
	case a := <-client.Alerts():
		if a.Kind != redirect.AlertNoRecord {
			t.Errorf("alert %+v", a)
		}
	case <-time.After(patience):
		t.Error("nobody is told")
	}
}

// TestConnectionsWaitWhileAProxyLeaves opens one at each stage of an upgrade that
// comes to nothing.
func TestConnectionsWaitWhileAProxyLeaves(t *testing.T) {
	n := newNode(t, nil)
	p, client, accepted := n.accepting(t)
	_ = n.dial(t)
	next(t, accepted)
	leaves(t, p, client)
	_ = n.dial(t)
	select {
	case a := <-accepted:
		t.Errorf("it accepts while another takes its records: %+v", a.Origin)
	case <-time.After(50 * time.Millisecond):
	}
	p.Return()
	change(t, client)
	next(t, accepted)

	leaves(t, p, client)
	ours, theirs, err := Streams()
	must(t, err)
	defer unix.Close(theirs)
	p.Retire(ours)
	must(t, unix.Close(ours))
	must(t, change(t, client).Stream.Close())
	_ = n.dial(t)
	select {
	case a := <-accepted:
		t.Errorf("it accepts after another has taken over: %+v", a.Origin)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestTableIsKnownBeforeItIsInForce(t *testing.T) {
	n := newNode(t, nil)
	p, client, _ := n.accepting(t)
	p.part(p) // of the first table, which it has heard of
	must(t, p.welcome(p))
	for i := range 100 {
		at := redirect.Destination{Prefix: netip.PrefixFrom(n.server.Addr(), 32), Port: uint16(i + 1)}
		must(t, p.Publish(destination.Table{at: {Resources: []string{"new"}}}))
		if len(client.Table()[at].Resources) != 1 {
			t.Fatalf("after %d tables the proxy knows of %v", i, client.Table())
		}
	}
}

// TestProxyGivesListenersBack ends a namespace whose listeners a proxy holds, and
// one that keeps them.
func TestProxyGivesListenersBack(t *testing.T) {
	for what, condemned := range map[string]bool{"": false, "keeps listeners": true} {
		n := newNode(t, func(conn net.Conn) { _, _ = conn.Write([]byte("hello")) })
		role := "proxy"
		if condemned {
			role = "forger"
		}
		b, started, _ := n.broker(t, role, what)
		background(t, b.Run)
		held := func() map[uint64]bool {
			held, _ := socketsOf(b.serving()) // none when it has ended
			return held
		}
		lent := make(map[uint64]bool)
		conn := n.dial(t) // the job's namespace is enrolled
		defer conn.Close()
		eventually(t, "it has listeners", func() bool {
			must(t, n.kernel.EachListening(func(l redirect.Listening) error {
				for _, fd := range l.Descriptors[1:] {
					var st unix.Stat_t
					must(t, unix.Fstat(fd, &st))
					lent[st.Ino] = true
				}
				return nil
			}))
			return holds(held(), lent) >= len(lent) && len(lent) > 2
		})
		first := b.serving()
		must(t, n.resident.Process.Kill())
		if condemned {
			eventually(t, "it is replaced", func() bool { return b.serving() != 0 && b.serving() != first })
			continue
		}
		eventually(t, "it lets them go", func() bool { return holds(held(), lent) < len(lent) })
		if started.Load() != 1 {
			t.Errorf("%d proxies were started", started.Load())
		}
	}
}

// serving is the process that takes connections; 0: there is none.
func (b *Broker) serving() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return 0
	}
	return b.current.cmd.Process.Pid
}

func holds(held, of map[uint64]bool) (n int) {
	for inode := range of {
		if held[inode] {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(5 * time.Millisecond); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to pass that %s", what)
		}
	}
}

// TestSocketsAreMadeAhead uses more of them than are kept.
func TestSocketsAreMadeAhead(t *testing.T) {
	n := newNode(t, nil)
	_, client, _ := n.accepting(t)
	eventually(t, "sockets are kept", func() bool { return len(client.v4.kept) == socketsAtOnce && len(client.v6.kept) == socketsAtOnce })
	seen := make(map[int]bool)
	for range 3 * socketsKept {
		fd, err := client.socket(t.Context(), n.server)
		must(t, err)
		if seen[fd] {
			t.Errorf("descriptor %d comes twice", fd)
		}
		seen[fd] = true
		t.Cleanup(func() { closeAll([]int{fd}) })
	}
	eventually(t, "they are made again", func() bool { return len(client.v4.kept) >= socketsAtOnce })
}
