package redirect_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

// openWith starts an agent that differs from newLab's.
func (l *lab) openWith(t testing.TB, change func(*redirect.Config)) {
	t.Helper()
	l.pins = filepath.Join(t.TempDir(), "pins")
	closeLater(t, func() error { return redirect.Uninstall(l.pins) })
	cfg := redirect.Config{Pins: l.pins, Port: l.slice.Port}
	change(&cfg)
	agent, err := redirect.Open(cfg, zaptest.NewLogger(t))
	must(t, err)
	l.agent = agent
	closeLater(t, agent.Close)
}

func TestExemptCgroupReachesTheServerAndIsSeen(t *testing.T) {
	l := newNetwork(t)
	exempt, err := netlab.NewCgroup("redirect")
	must(t, err)
	closeLater(t, exempt.Close)
	l.openWith(t, func(cfg *redirect.Config) { cfg.Exempt = []string{"/" + filepath.Base(exempt.Path), "/not-there"} })
	must(t, l.agent.Protect(l.destinations()))
	l.runAgent(t)

	end := startClient(t, l.job, exempt, l.server4)
	defer end()
	alert := l.wantAlert(t, redirect.AlertExempt)
	if alert.Destination != l.server4 || alert.CgroupID != exempt.ID {
		t.Errorf("alert = %+v, want one about %s and cgroup %d", alert, l.server4, exempt.ID)
	}
	// What is below it may be a job's.
	below, err := exempt.NewBelow("job")
	must(t, err)
	closeLater(t, below.Close)
	other := startClient(t, l.job, below, l.server4)
	defer other()
	if got := l.accept(t).Origin; got.CgroupID != below.ID {
		t.Errorf("cgroup = %d, want %d", got.CgroupID, below.ID)
	}
}

// Nobody keeps a socket's freedom for another destination, nor for a second
// connection.
func TestExemptionEndsWithTheConnection(t *testing.T) {
	l := newNetwork(t)
	fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_STREAM, 0)
	must(t, unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)))
	l.openWith(t, func(*redirect.Config) {})
	must(t, l.agent.Protect(l.destinations())) // the connection is left to end
	l.wantAlert(t, redirect.AlertOpenConnection)
	l.runAgent(t)

	must(t, rawConnect(fd, &unix.RawSockaddrInet4{Family: unix.AF_UNSPEC}))
	must(t, unix.Connect(fd, sockaddr(unix.AF_INET, l.server4)))
	if got := l.accept(t).Origin.Destination; got != l.server4 {
		t.Errorf("destination = %s, want %s", got, l.server4)
	}
}

func TestOpenConnectionsAreLeftToEnd(t *testing.T) {
	l := newNetwork(t)
	conns := l.dialAll(t)
	l.openWith(t, func(*redirect.Config) {})
	must(t, l.agent.Protect(l.destinations()))
	for range conns {
		if alert := l.wantAlert(t, redirect.AlertOpenConnection); alert.Detail != "left to end" || alert.Count != 1 {
			t.Errorf("alert = %+v, want one connection left to end", alert)
		}
	}
	for _, conn := range conns {
		_, err := conn.Write([]byte("still here"))
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.ReadFull(conn, make([]byte, len("still here")))
		must(t, err)
	}
}

func TestOpenConnectionsAreEnded(t *testing.T) {
	l := newNetwork(t)
	conns := l.dialAll(t)
	read := make(chan error)
	for _, conn := range conns {
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		go func() { // somebody who waits must not keep it open
			_, err := io.Copy(io.Discard, conn)
			read <- err
		}()
	}
	wire := l.tapServer(t)
	l.openWith(t, func(cfg *redirect.Config) { cfg.DestroyOpen = true })
	must(t, l.agent.Protect(l.destinations()))
	for range conns {
		if alert := l.wantAlert(t, redirect.AlertOpenConnection); alert.Detail != "ended" {
			t.Errorf("alert = %+v, want that it was ended", alert)
		}
		if err := <-read; errors.Is(err, unix.ETIMEDOUT) || isTimeout(err) {
			t.Errorf("read = %v, want the connection's end", err)
		}
	}
	wire.until(t, isReset, func([]byte) bool { return false })
}

// Containers' packets are looked at where they come in, too.
func TestOpenConnectionThroughTheHostIsLeftToEnd(t *testing.T) {
	l := newNetwork(t)
	routed := l.newRouted(t)
	conn, err := dialFrom(t, routed, "tcp4", l.server4)
	must(t, err)
	l.openWith(t, func(*redirect.Config) {})
	must(t, l.agent.Protect(l.destinations()))
	l.runAgent(t)
	l.wantAlert(t, redirect.AlertOpenConnection)
	eventually(t, "the link is guarded", func() bool {
		_, err := conn.Write([]byte("x"))
		must(t, err)
		return l.counter(t, "link_in_open") > 0
	})
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.ReadFull(conn, make([]byte, 1))
	must(t, err)
}

// newRouted makes a namespace that reaches the server through a bridge of the
// agent's, as a container does.
func (l *lab) newRouted(t testing.TB) *netlab.Namespace {
	t.Helper()
	ns := newNamespace(t)
	inhabit(t, ns)
	host, err := netlab.Own()
	must(t, err)
	closeLater(t, host.Close)
	near, far := fmt.Sprintf("sopn%d", l.slice.Port), fmt.Sprintf("sopf%d", l.slice.Port)
	bridge := fmt.Sprintf("sopb%d", l.slice.Port)
	must(t, netlab.Connect(ns, host, near, []netip.Prefix{netip.PrefixFrom(l.slice.Host4(13), 30)}, nil))
	must(t, netlab.Connect(l.server, host, far, []netip.Prefix{netip.PrefixFrom(l.slice.Host4(14), 30)}, nil))
	must(t, host.Bridge(bridge, near, far))
	t.Cleanup(func() {
		for _, name := range []string{bridge, near, far} {
			_ = host.Unlink(name) // gone already if its namespace is
		}
	})
	must(t, ns.Route(netip.PrefixFrom(l.server4.Addr(), 32), l.slice.Host4(14)))
	return ns
}

func isTimeout(err error) bool {
	timeout := net.Error(nil)
	return errors.As(err, &timeout) && timeout.Timeout()
}

// dialAll connects to the server by IPv4 and IPv6 and reads its greeting.
func (l *lab) dialAll(t testing.TB) (conns []net.Conn) {
	t.Helper()
	for _, to := range []netip.AddrPort{l.server4, l.server6} {
		conn, err := dialFrom(t, l.job, "tcp", to)
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		for greeting := make([]byte, 1); greeting[0] != '\n'; {
			_, err := conn.Read(greeting)
			must(t, err)
		}
		conns = append(conns, conn)
	}
	return conns
}
