package redirect_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

const (
	protectedPort = 5432
	openPort      = 5433
	patience      = 30 * time.Second
)

// lab is a job and a server in network namespaces of their own, and an agent in
// this process that guards the server.
type lab struct {
	slice  *netlab.Slice
	job    *netlab.Namespace
	server *netlab.Namespace
	agent  *redirect.Redirect
	pins   string
	stop   func() // ends Run and waits for it

	server4, server6 netip.AddrPort
}

// newLab starts everything, with the agent running.
func newLab(t testing.TB) *lab {
	t.Helper()
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t)
	l.runAgent(t)
	return l
}

// newNetwork makes the namespaces only.
func newNetwork(t testing.TB) *lab {
	t.Helper()
	slice, err := netlab.Take()
	must(t, err)
	closeLater(t, slice.Release)
	l := &lab{
		slice:   slice,
		server4: netip.AddrPortFrom(slice.Host4(2), protectedPort),
		server6: netip.AddrPortFrom(slice.Host6(2), protectedPort),
	}
	l.job = newNamespace(t)
	l.server = newNamespace(t)
	must(t, netlab.Connect(l.job, l.server, "eth0",
		[]netip.Prefix{netip.PrefixFrom(slice.Host4(1), 29), netip.PrefixFrom(slice.Host6(1), 64)},
		[]netip.Prefix{netip.PrefixFrom(slice.Host4(2), 29), netip.PrefixFrom(slice.Host6(2), 64)}))
	must(t, l.server.Do(func() error {
		return errors.Join(echo(t, l.server4), echo(t, l.server6),
			echo(t, netip.AddrPortFrom(slice.Host4(2), openPort)))
	}))
	l.connectHost(t)
	inhabit(t, l.job)
	return l
}

// inhabit keeps a process in a namespace, as a container has one: sockets alone
// do not tell anybody where their namespace is.
func inhabit(t testing.TB, ns *netlab.Namespace) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, ns.Start(cmd))
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // tests may have done so themselves
		_ = cmd.Wait()
	})
	return cmd
}

// connectHost lets the agent, which stays where the test runs, reach the server.
func (l *lab) connectHost(t testing.TB) {
	t.Helper()
	host, err := netlab.Own()
	must(t, err)
	closeLater(t, host.Close)
	name := fmt.Sprintf("slab%d", l.slice.Port)
	must(t, netlab.Connect(l.server, host, name,
		[]netip.Prefix{netip.PrefixFrom(l.slice.Host4(9), 30)}, []netip.Prefix{netip.PrefixFrom(l.slice.Host4(10), 30)}))
	t.Cleanup(func() { _ = host.Unlink(name) }) // gone already if the server's namespace is
	must(t, host.Route(netip.PrefixFrom(l.slice.Host4(2), 32), l.slice.Host4(9)))
}

func (l *lab) openAgent(t testing.TB) {
	t.Helper()
	closeLater(t, func() error { return redirect.Uninstall(l.pins) })
	agent, err := redirect.Open(redirect.Config{Pins: l.pins, Port: l.slice.Port}, zaptest.NewLogger(t))
	must(t, err)
	l.agent = agent
	closeLater(t, agent.Close)
	t.Cleanup(func() { moved.addOf(agent) })
	must(t, agent.Protect(l.destinations()))
}

func (l *lab) destinations() []redirect.Destination {
	return []redirect.Destination{
		{Prefix: netip.PrefixFrom(l.server4.Addr(), 32), Port: protectedPort},
		{Prefix: netip.PrefixFrom(l.server6.Addr(), 128), Port: protectedPort},
	}
}

func (l *lab) runAgent(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.agent.Run(ctx) }()
	t.Cleanup(func() {
		if t.Failed() {
			l.explain(t)
		}
	})
	l.stop = func() {
		moved.addOf(l.agent)
		cancel()
		if err, ok := <-ended; ok {
			must(t, err)
			close(ended)
		}
	}
	t.Cleanup(l.stop)
}

// accept waits for the next connection that the agent got.
func (l *lab) accept(t testing.TB) *redirect.Accepted {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := l.agent.Accept(ctx)
	must(t, err)
	if a.Origin.Lineage == nil {
		t.Error("nobody knows what was executed before this connect")
	}
	t.Cleanup(func() { _ = a.Conn.Close() }) // tests may close it themselves
	return a
}

// dialServer connects with a socket of the agent's.
func (l *lab) dialServer(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	fd, err := l.agent.Socket(to.Addr())
	if err != nil {
		return nil, err
	}
	return redirect.Connect(ctx, fd, to)
}

// dialFrom connects from a namespace as an unmodified program would.
func dialFrom(t testing.TB, ns *netlab.Namespace, network string, to netip.AddrPort) (net.Conn, error) {
	t.Helper()
	var conn net.Conn
	err := ns.Do(func() (err error) {
		dialer := net.Dialer{Timeout: patience}
		dialer.SetMultipathTCP(false)
		conn, err = dialer.Dial(network, to.String())
		return err
	})
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() }) // tests may close it themselves
	}
	return conn, err
}

func newNamespace(t testing.TB) *netlab.Namespace {
	t.Helper()
	ns, err := netlab.NewNamespace()
	must(t, err)
	closeLater(t, ns.Close)
	return ns
}

// echo serves at an address of the namespace that it is called in, until the
// test ends: it greets with the peer's address, then repeats what it gets.
func echo(t testing.TB, at netip.AddrPort) error {
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := fmt.Fprintln(conn, conn.RemoteAddr()); err == nil {
					_, _ = conn.(*net.TCPConn).WriteTo(conn)
				}
			}()
		}
	}()
	return nil
}

func closeLater(t testing.TB, f func() error) {
	t.Helper()
	t.Cleanup(func() { must(t, f()) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counter reads one counter.
func (l *lab) counter(t testing.TB, name string) uint64 {
	t.Helper()
	all, err := l.agent.Counters()
	must(t, err)
	n, ok := all[name]
	if !ok {
		t.Fatalf("there is no counter %q in %v", name, all)
	}
	return n
}

// explain logs what the agent saw.
func (l *lab) explain(t testing.TB) {
	t.Helper()
	counters, err := l.agent.Counters()
	t.Logf("counters: %v %v", counters, err)
	for {
		select {
		case a := <-l.agent.Alerts():
			t.Logf("alert: %+v", a)
		default:
			return
		}
	}
}
