package bypass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sluicegate/sluice/testenv/netlab"
)

const (
	sealedPort = 5432 // protected; the agent answers itself, so no packet may arrive there
	legPort    = 5434 // protected; the agent relays
	openPort   = 5433 // not protected
)

// world is the node of this package's tests, with all that is on it. They run
// one after the other and leave it as they found it.
type world struct {
	dir    string
	slice  *netlab.Slice
	server *netlab.Namespace

	server4, server6 netip.Addr // protected at sealedPort and legPort
	open4, open6     netip.Addr // the same machine, not protected
	innocent         netip.Addr // nobody has it

	capture  *capture
	engine   *engine
	agent    *agent
	tables   tables
	resets   atomic.Int64   // connections to the server that ended with one
	closings []func() error // in the order of opening
}

var lab *world

// newWorld returns what stands even when a step failed, to be closed.
func newWorld(dir string) (*world, error) {
	w := &world{dir: dir}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"network", w.makeNetwork},
		{"server", w.startServer},
		{"attacker", w.buildAttacker},
		{"docker", w.startEngine},
		{"agent", w.startAgent},
	} {
		if err := step.do(); err != nil {
			return w, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return w, nil
}

func (w *world) later(f func() error) { w.closings = append(w.closings, f) }

func (w *world) close() error {
	var errs []error
	for i := len(w.closings) - 1; i >= 0; i-- {
		errs = append(errs, w.closings[i]())
	}
	return errors.Join(errs...)
}

// makeNetwork joins the node to the server:
//
//	containers ── docker0 ── node ── eth0 (.1/29) ── server (.2 protected, .3 not)
//
// The node is as helpful to an attacker as a router can be: it follows source
// routes and does not look at source addresses.
func (w *world) makeNetwork() error {
	var err error
	if w.slice, err = netlab.Take(); err != nil {
		return err
	}
	w.later(w.slice.Release)
	w.server4, w.open4, w.innocent = w.slice.Host4(2), w.slice.Host4(3), w.slice.Host4(5)
	w.server6, w.open6 = w.slice.Host6(2), w.slice.Host6(3)
	node, err := netlab.Own()
	if err != nil {
		return err
	}
	w.later(node.Close)
	if w.server, err = netlab.NewNamespace(); err != nil {
		return err
	}
	w.later(w.server.Close)
	if err := sysctl("net/ipv4/conf/default/rp_filter=0", "net/ipv4/conf/all/rp_filter=0",
		"net/ipv4/conf/all/accept_source_route=1", "net/ipv4/conf/default/accept_source_route=1",
		"net/ipv6/conf/all/seg6_enabled=1", "net/ipv6/conf/default/seg6_enabled=1"); err != nil {
		return err
	}
	err = netlab.Connect(node, w.server, "eth0",
		[]netip.Prefix{netip.PrefixFrom(w.slice.Host4(1), 29), netip.PrefixFrom(w.slice.Host6(1), 120)},
		[]netip.Prefix{
			netip.PrefixFrom(w.server4, 29), netip.PrefixFrom(w.open4, 29),
			netip.PrefixFrom(w.server6, 120), netip.PrefixFrom(w.open6, 120),
		})
	if err != nil {
		return err
	}
	if err := command("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	return errors.Join(
		w.server.Route(netip.PrefixFrom(netip.IPv4Unspecified(), 0), w.slice.Host4(1)),
		w.server.Route(netip.PrefixFrom(netip.IPv6Unspecified(), 0), w.slice.Host6(1)))
}

func sysctl(settings ...string) error {
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// startServer starts the canary and the capture in front of it.
func (w *world) startServer() error {
	var err error
	if w.capture, err = w.newCapture(); err != nil {
		return err
	}
	w.later(w.capture.close)
	// A probe of a connection that the agent silenced would be answered with a
	// reset by the container's kernel, and taken for an arrival.
	silent := net.ListenConfig{KeepAlive: -1}
	return w.server.Do(func() error {
		for _, port := range []int{sealedPort, legPort, openPort} {
			l, err := silent.Listen(context.Background(), "tcp", fmt.Sprintf("[::]:%d", port))
			if err != nil {
				return err
			}
			w.later(l.Close)
			go w.serveCanary(l)
		}
		return nil
	})
}

// serveCanary greets, and repeats what it gets.
func (w *world) serveCanary(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed with the world
		}
		go func() {
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, "CANARY \n"); err == nil {
				if _, err := io.Copy(conn, conn); errors.Is(err, syscall.ECONNRESET) {
					w.resets.Add(1)
				}
			}
		}()
	}
}

func (w *world) buildAttacker() error {
	for _, sub := range []string{"bin", "share"} {
		if err := os.Mkdir(filepath.Join(w.dir, sub), 0o755); err != nil {
			return err
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(w.dir, "bin", "attacker"), "./attacker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// command runs argv to its end.
func command(argv ...string) error {
	_, err := output(context.Background(), argv...)
	return err
}

func output(ctx context.Context, argv ...string) (string, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
