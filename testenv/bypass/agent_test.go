package bypass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/workload"
)

// patience bounds every wait of the suite.
const patience = 30 * time.Second

// agent is the interception under test, with the least that can stand behind
// it: at the sealed port it answers itself, and at the leg's it relays.
type agent struct {
	*redirect.Redirect
	pins     string
	links    []uint32 // their ids
	registry *attribution.Registry
	world    *world
	stop     func() error

	mu     sync.Mutex
	alerts map[redirect.AlertKind]uint64 // guarded by mu
	last   workload.Workload             // behind the newest connection; guarded by mu
	named  bool                          // whether last is wanted: it takes time; guarded by mu
}

func (w *world) startAgent() error {
	w.agent = &agent{
		world: w, pins: filepath.Join(w.dir, "pins"), alerts: make(map[redirect.AlertKind]uint64),
	}
	w.later(func() error { return redirect.Uninstall(w.agent.pins) })
	w.later(func() error { return w.agent.stop() })
	return w.agent.start()
}

// start puts the agent in force, again after stop.
func (a *agent) start() error {
	var err error
	a.stop = func() error { return nil }
	a.Redirect, err = redirect.Open(redirect.Config{Pins: a.pins, Port: a.world.slice.Port}, zap.NewNop())
	if err != nil {
		return err
	}
	a.registry = attribution.New(attribution.Local(attribution.Config{
		CgroupRoot: a.CgroupRoot(), DockerSocket: a.world.engine.socket(),
	}), zap.NewNop())
	a.stop = a.Close
	if err := a.Protect(a.world.destinations()); err != nil {
		return err
	}
	if err := a.findLinks(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	ended := make(chan error, 1)
	running.Go(func() { ended <- a.Run(ctx) })
	running.Go(func() { a.accept(ctx) })
	running.Go(func() { a.listen(ctx) })
	a.stop = func() error {
		a.stop = func() error { return nil }
		cancel()
		running.Wait()
		return errors.Join(<-ended, a.Close())
	}
	return nil
}

// findLinks reads the ids by which the kernel knows the programs' attachments.
func (a *agent) findLinks() error {
	a.links = nil
	files, err := filepath.Glob(filepath.Join(a.pins, "links", "*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		l, err := link.LoadPinnedLink(file, nil)
		if err != nil {
			return err
		}
		info, err := l.Info()
		if err := errors.Join(err, l.Close()); err != nil {
			return err
		}
		a.links = append(a.links, uint32(info.ID))
	}
	return nil
}

func (w *world) destinations() []redirect.Destination {
	var all []redirect.Destination
	for _, addr := range []netip.Addr{w.server4, w.server6} {
		for _, port := range []uint16{sealedPort, legPort} {
			all = append(all, redirect.Destination{Prefix: netip.PrefixFrom(addr, addr.BitLen()), Port: port})
		}
	}
	return all
}

func (a *agent) accept(ctx context.Context) {
	for {
		got, err := a.Accept(ctx)
		if err != nil {
			return // ctx has ended
		}
		go a.serve(got)
	}
}

func (a *agent) serve(got *redirect.Accepted) {
	defer func() { _ = got.Conn.Close() }()
	_ = got.Conn.SetLinger(-1) // what is wrong resets it by itself
	a.name(got.Origin)
	if got.Origin.Destination.Port() == legPort {
		a.relay(got.Conn, got.Origin.Destination)
		return
	}
	if _, err := fmt.Fprintf(got.Conn, "AGENT %s\n", got.Origin.Destination); err == nil {
		_, _ = io.Copy(io.Discard, got.Conn) // until the client leaves
	}
}

// relay passes bytes both ways until both ends are closed.
func (a *agent) relay(client *net.TCPConn, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	fd, err := a.Socket(to.Addr())
	if err != nil {
		return
	}
	server, err := redirect.Connect(ctx, fd, to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var both sync.WaitGroup
	for _, leg := range [][2]*net.TCPConn{{client, server}, {server, client}} {
		both.Go(func() {
			_, err := io.Copy(leg[1], leg[0])
			if err != nil {
				_ = client.SetLinger(0)
				_ = server.SetLinger(0)
				_ = client.Close()
				_ = server.Close()
				return
			}
			_ = leg[1].CloseWrite() // it may be gone
		})
	}
	both.Wait()
}

func (a *agent) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case alert := <-a.Alerts():
			a.mu.Lock()
			a.alerts[alert.Kind] += alert.Count
			a.mu.Unlock()
		}
	}
}

// counters reads all counters.
func (a *agent) counters(t testing.TB) map[string]uint64 {
	t.Helper()
	all, err := a.Counters()
	must(t, err)
	return all
}

// name finds out who connected, if somebody wants to know.
func (a *agent) name(o redirect.Origin) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.named {
		return
	}
	a.last = a.registry.Workload(context.Background(), attribution.Origin{
		CgroupID: o.CgroupID, NetnsCookie: o.NetnsCookie, PID: o.PID, UID: o.UID, Started: o.Started,
	})
}

// workload returns who connected while do ran.
func (a *agent) workload(do func()) workload.Workload {
	a.mu.Lock()
	a.named, a.last = true, workload.Workload{}
	a.mu.Unlock()
	do()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.named = false
	return a.last
}

func pid() int { return os.Getpid() }
