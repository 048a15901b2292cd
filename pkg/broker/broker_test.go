package broker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/testenv/netlab"
)

const patience = time.Minute

// node is a machine whose server is protected, with a job on it.
type node struct {
	kernel *redirect.Redirect
	job    *netlab.Namespace
	where  *netlab.Namespace // of the server
	server netip.AddrPort
	log    *zap.Logger

	resident *exec.Cmd // the job's process
}

// newNode protects a server that answers each connection with answer; nil: there
// is none yet.
func newNode(t testing.TB, answer func(net.Conn)) *node {
	t.Helper()
	slice, err := netlab.Take()
	must(t, err)
	later(t, slice.Release)
	n := &node{server: netip.AddrPortFrom(slice.Host4(2), 5432), log: zaptest.NewLogger(t)}
	n.job, err = netlab.NewNamespace()
	must(t, err)
	later(t, n.job.Close)
	server, err := netlab.NewNamespace()
	must(t, err)
	later(t, server.Close)
	host, err := netlab.Own()
	must(t, err)
	later(t, host.Close)
	must(t, netlab.Connect(n.job, server, "eth0",
		[]netip.Prefix{netip.PrefixFrom(slice.Host4(1), 29)}, []netip.Prefix{netip.PrefixFrom(slice.Host4(2), 29)}))
	name := "brk" + slice.Host4(9).String()[10:]
	must(t, netlab.Connect(server, host, name,
		[]netip.Prefix{netip.PrefixFrom(slice.Host4(9), 30)}, []netip.Prefix{netip.PrefixFrom(slice.Host4(10), 30)}))
	t.Cleanup(func() { _ = host.Unlink(name) }) // gone already if the server's namespace is
	must(t, host.Route(netip.PrefixFrom(slice.Host4(2), 32), slice.Host4(9)))
	n.where = server
	if answer != nil {
		must(t, server.Do(func() error { return serve(t, n.server, answer) }))
	}
	n.resident = inhabit(t, n.job)

	pins := filepath.Join(t.TempDir(), "pins")
	later(t, func() error { return redirect.Uninstall(pins) })
	n.kernel, err = redirect.Open(redirect.Config{Pins: pins, Port: slice.Port}, n.log)
	must(t, err)
	later(t, n.kernel.Close)
	must(t, n.kernel.Protect([]redirect.Destination{{Prefix: netip.PrefixFrom(slice.Host4(2), 32), Port: 5432}}))
	background(t, n.kernel.Run)
	return n
}

// background runs f until the test ends.
func background(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
}

// inhabit starts a process in a namespace, which is gone with it.
func inhabit(t testing.TB, ns *netlab.Namespace) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	must(t, ns.Start(cmd))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func serve(t testing.TB, at netip.AddrPort, answer func(net.Conn)) error {
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
				answer(conn)
				_ = conn.Close()
			}()
		}
	}()
	return nil
}

// dial connects as a job does.
func (n *node) dial(t testing.TB) net.Conn {
	t.Helper()
	var conn net.Conn
	must(t, n.job.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", n.server.String(), patience)
		return err
	}))
	t.Cleanup(func() { _ = conn.Close() }) // tests may close it themselves
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// broker makes a Broker whose proxies play a role. started counts them, and
// pid is the last one's.
func (n *node) broker(t testing.TB, role, what string) (b *Broker, started *atomic.Int32, last func() *os.Process) {
	t.Helper()
	var mu sync.Mutex
	var cmd *exec.Cmd
	started = new(atomic.Int32)
	b, err := New(Parts{
		Redirect: n.kernel, Sources: attribution.Local(attribution.Config{CgroupRoot: n.kernel.CgroupRoot()}), Log: n.log,
		Ready: func() error { return nil },
		Command: func() *exec.Cmd {
			mu.Lock()
			defer mu.Unlock()
			started.Add(1)
			cmd = player(role, what)
			return cmd
		},
	})
	must(t, err)
	at := redirect.Destination{Prefix: netip.PrefixFrom(n.server.Addr(), 32), Port: n.server.Port()}
	must(t, b.Publish(destination.Table{at: {Resources: []string{"server"}}}))
	return b, started, func() *os.Process {
		mu.Lock()
		defer mu.Unlock()
		return cmd.Process
	}
}

func TestKilledProxyResetsAndIsReplaced(t *testing.T) {
	for _, what := range []string{"accepts", "is handed connections"} {
		t.Run(what, func(t *testing.T) { killedProxyResetsAndIsReplaced(t, what) })
	}
}

func killedProxyResetsAndIsReplaced(t *testing.T, what string) {
	half := bytes.Repeat([]byte("x"), 1000)
	silent := make(chan struct{})
	n := newNode(t, func(conn net.Conn) {
		_, _ = conn.Write(half)
		select {
		case <-silent:
		case <-time.After(patience):
		}
	})
	b, started, last := n.broker(t, "proxy", what)
	background(t, b.Run)

	conn := n.dial(t)
	got := make([]byte, len(half))
	_, err := io.ReadFull(conn, got)
	must(t, err)
	must(t, last().Kill()) // in the middle of an answer
	if _, err := conn.Read(got); !isReset(err) {
		t.Errorf("the client sees %v, which may pass for the end of an answer", err)
	}

	close(silent)
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); started.Load() < 2 && time.Now().Before(deadline); {
		<-tick.C // what came to the dead one in time was reset with the rest
	}
	all, err := io.ReadAll(n.dial(t))
	if err != nil || !bytes.Equal(all, half) {
		t.Errorf("from the next proxy came %d bytes, %v", len(all), err)
	}
	if started.Load() != 2 {
		t.Errorf("%d proxies were started", started.Load())
	}
}

func TestForgedQuestionsAreRefused(t *testing.T) {
	n := newNode(t, func(net.Conn) {})
	for _, what := range []string{
		"no hello", "another version", "a long hello", "an unknown kind", "an answer", "a connection", "a short packet",
		"too long a packet", "an unasked question", "a family", "half a process", "a path as id", "an id and no call", "mounts of somebody", "no path", "a long path",
		"a table", "a descriptor", "a flood", "ready twice", "ready for less", "ready for nothing", "no sockets", "too many sockets", "a table unheard of", "half a probe", "able twice", "left unasked",
	} {
		t.Run(what, func(t *testing.T) {
			if why := n.forge(t, what, patience); why == nil || errors.Is(why, io.EOF) {
				t.Errorf("the proxy went on until it ended: %v", why)
			}
		})
	}
	if _, err := n.kernel.Counters(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// forge lets a forger speak until it is condemned, or has gone on for long
// enough, and returns why it ended.
func (n *node) forge(t *testing.T, what string, enough time.Duration) error {
	t.Helper()
	b, _, _ := n.broker(t, "forger", what)
	p, err := b.start()
	must(t, err)
	serving, fail := context.WithCancelCause(t.Context())
	p.fail = func(why error) {
		fail(why)
		_ = p.link.close() // ends listen
	}
	stop := time.AfterFunc(enough, func() { p.fail(nil) })
	defer stop.Stop()
	p.fail(p.listen(serving))
	must(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	p.answering.Wait()
	return context.Cause(serving)
}

// TestTakenOverProxyUnprotectsNothing lets a proxy say each kind of packet, with
// bodies that might mean to protect nothing, less or something else.
func TestTakenOverProxyUnprotectsNothing(t *testing.T) {
	var reached atomic.Int32
	n := newNode(t, func(net.Conn) { reached.Add(1) })
	for kind := range 256 {
		_ = n.forge(t, "kind "+strconv.Itoa(kind), 50*time.Millisecond)
	}
	conn := n.dial(t) // into the listener: nobody takes it
	must(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	if _, err := conn.Read(make([]byte, 1)); err == nil || reached.Load() != 0 {
		t.Errorf("a job reaches the server: %v", err)
	}
	// The control: what may unprotect it does.
	must(t, n.kernel.Protect(nil))
	if _, err := n.dial(t).Read(make([]byte, 1)); !errors.Is(err, io.EOF) || reached.Load() != 1 {
		t.Errorf("unprotected, the server is not reached: %v", err)
	}
}

func TestProxyIsToldOfEveryTable(t *testing.T) {
	p, client := joined(t, Files{}, attribution.Local(attribution.Config{}))
	early, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := client.Ready(early, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it is ready to serve without a table: %v", err)
	}
	at := netip.MustParseAddrPort("192.0.2.7:5432")
	for _, route := range []destination.Route{
		{Resources: []string{"first"}}, {Resources: []string{"second", "third"}}, {Clash: []string{"second", "third"}}, {},
	} {
		key := redirect.Destination{Prefix: netip.PrefixFrom(at.Addr(), 32), Port: at.Port()}
		must(t, p.Publish(destination.Table{key: route}))
		deadline := time.Now().Add(patience)
		for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
			table := client.table.Load()
			if table != nil && reflect.DeepEqual((*table)[key], route) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the table with %+v does not arrive", route)
			}
		}
	}
}

// joined are the two ends in one process, for questions that have their form.
func joined(t *testing.T, files Files, sources attribution.Sources) (*proxy, *Client) {
	t.Helper()
	ours, theirs, err := pair()
	must(t, err)
	b, err := New(Parts{Files: files, Sources: sources, Log: zaptest.NewLogger(t)})
	must(t, err)
	p := b.proxy(ours)
	p.fail = func(error) {}
	background(t, func(ctx context.Context) error {
		_ = p.listen(ctx) // until the client closes
		p.answering.Wait()
		return nil
	})
	nothing, err := os.Open(os.DevNull) // it cannot accept
	must(t, err)
	lineages, err := os.Open(os.DevNull)
	must(t, err)
	client, err := Attach(theirs, redirect.RecordFiles{Origins: nothing, Lineages: lineages}, func() {})
	must(t, err)
	later(t, client.Close)
	return p, client
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func later(t testing.TB, f func() error) {
	t.Helper()
	t.Cleanup(func() { must(t, f()) })
}
