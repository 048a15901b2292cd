// Package broker keeps the agent's two halves together: the privileged one,
// which holds the kernel programs and opens what the node hides, and the
// proxy, which parses what jobs and servers send. The halves are processes of
// one program, joined by one socket.
//
// The Broker runs in the privileged half. It starts the proxy, lends it the
// listeners of the jobs' namespaces so that it accepts by itself, makes sockets
// that may dial servers, and answers a short list of questions. It accepts and
// hands over connections itself where a proxy cannot read their records. It promises that it parses nothing
// that a job wrote, that a question which is not in the list, does not have
// its form or asks for what nobody named is refused, that a proxy which breaks
// the form is killed, and that a session whose proxy died is reset, so that no
// client takes a truncated answer for a whole one. Connections wait while a
// new proxy starts, for a bounded time.
//
// The Client runs in the proxy. It takes no privilege.
//
// The package does not confine the proxy (confine does, in the proxy itself),
// and a proxy that somebody took over can still do what it is for: log in to
// the servers and read the traffic that it is handed. Which destinations are
// protected it is told, and cannot change.
package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/redirect"
)

const (
	// proxyWait is how long connections wait for a proxy, from when the last
	// one was lost.
	proxyWait = 30 * time.Second
	// stopWait is how long a proxy may take to end its sessions in good order.
	stopWait = 15 * time.Second
	// restartFirst and restartMost are the pauses before a proxy that died is
	// replaced; each is twice the one before, until one has run for a while.
	restartFirst = 100 * time.Millisecond
	restartMost  = 10 * time.Second
	steadyAfter  = time.Minute
)

// AlertProxyDied says that the proxy ended unasked: its sessions were reset.
const AlertProxyDied redirect.AlertKind = "proxy-died"

// Parts are what a Broker needs. Redirect belongs to whoever opened it.
type Parts struct {
	Redirect *redirect.Redirect
	Sources  attribution.Sources
	Files    Files
	// Command returns a proxy that is not started yet. Its standard streams
	// are the caller's choice. It finds its end of the socket at Descriptor.
	Command func() *exec.Cmd
	// Ready is called whenever a proxy has begun to take connections.
	Ready func() error
	Log   *zap.Logger
}

// Descriptor is where a proxy finds its end of the socket, and behind it what it
// reads the records of connections of that it accepts: redirect.RecordFiles.
const (
	Descriptor = 3 + iota
	OriginsDescriptor
	LineagesDescriptor
)

// RecordFiles are those of a process that a Broker started.
func RecordFiles() redirect.RecordFiles {
	return redirect.RecordFiles{Origins: os.NewFile(OriginsDescriptor, "origins"), Lineages: os.NewFile(LineagesDescriptor, "lineages")}
}

// Broker is the privileged half's part.
type Broker struct {
	Parts
	booted time.Time

	mu      sync.Mutex
	current *proxy        // that takes connections, or nil; guarded by mu
	arrived chan struct{} // closed when current is set; guarded by mu
	lost    time.Time     // when current became nil; guarded by mu
	alerts  []redirect.Alert
	phase   phase         // guarded by mu
	decided chan struct{} // closed when leaving ends; guarded by mu
	first   *proxy        // that can begin; nil: none can; guarded by mu
	able    chan struct{} // closed when first is set
	held    bool          // first waits for Release; guarded by mu

	telling sync.Mutex
	table   []byte          // destination.Table as JSON; nil before the first; guarded by telling
	told    map[*proxy]bool // the proxies that listen; guarded by telling
}

// New returns a Broker.
func New(parts Parts) (*Broker, error) {
	booted, err := attribution.BootTime()
	if err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	return &Broker{Parts: parts, booted: booted, arrived: make(chan struct{}), lost: time.Now(), told: make(map[*proxy]bool), able: make(chan struct{})}, nil
}

// Run keeps a proxy running until ctx ends, and ends the last one in good
// order; or, once it was retired, until its last session has ended. It fails when the first proxy ends before it was ready: its
// configuration is wrong then. Redirect.Run has to run beside it.
//
// Call it on the main thread: the death of the thread that starts a proxy
// kills that proxy.
func (b *Broker) Run(ctx context.Context) error {
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	group.Go(func() error { return b.deliverAll(accepting) })
	err := b.keepRunning(ctx)
	stop()
	return errors.Join(err, group.Wait())
}

func (b *Broker) keepRunning(ctx context.Context) error {
	pause := restartFirst
	for served := false; ; served = true {
		began := time.Now()
		ready, err := b.runProxy(ctx)
		if !b.replace(ctx) {
			return err // nil when it ended in good order
		}
		if !served && !ready {
			return fmt.Errorf("the proxy ended before it was ready: %w", err)
		}
		b.Log.Error("The proxy died: its sessions are reset and a new one starts", zap.Error(err))
		b.remember(redirect.Alert{Kind: AlertProxyDied, Count: 1, Detail: err.Error()})
		if time.Since(began) > steadyAfter {
			pause = restartFirst
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, restartMost)
	}
}

// maxRemembered bounds the alerts that wait for a proxy.
const maxRemembered = 64

// remember keeps an alert for the next proxy, which records it.
func (b *Broker) remember(a redirect.Alert) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.alerts) < maxRemembered {
		b.alerts = append(b.alerts, a)
	}
}

// appoint makes p the proxy that takes connections, and gives it the alerts
// that waited for one.
func (b *Broker) appoint(p *proxy) []redirect.Alert {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = p
	close(b.arrived)
	waiting := b.alerts
	b.alerts = nil
	return waiting
}

// dismiss takes connections away from p, if it had them.
func (b *Broker) dismiss(p *proxy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != p {
		return
	}
	b.current, b.arrived, b.lost = nil, make(chan struct{}), time.Now()
	if err := b.Redirect.Lend(false); err != nil {
		b.Log.Error("Connections may wait in vain", zap.Error(err))
	}
}

// await returns the proxy that takes connections, or nil if none comes in time.
func (b *Broker) await(ctx context.Context) *proxy {
	b.mu.Lock()
	current, arrived, patience := b.current, b.arrived, time.Until(b.lost.Add(proxyWait))
	b.mu.Unlock()
	if current != nil {
		return current
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-arrived:
		return b.await(ctx)
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}
