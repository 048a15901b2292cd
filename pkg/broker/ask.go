package broker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/redirect"
)

// Ready lets connections come, once it is known whose they are. Each is given to
// serve, on the goroutine that accepts them, so that a connection waits for no
// hand-over within the process. serve does not block, and is called by several.
//
// Where this process may read records it accepts by itself. Elsewhere the
// privileged half does, and hands connections over.
func (c *Client) Ready(ctx context.Context, serve func(*Accepted)) error {
	select {
	case <-c.told:
		c.serve.Store(&serve)
		c.refill(c.v4)
		c.refill(c.v6)
		accepts := []byte{0}
		if c.records.Readable() {
			accepts = []byte{1}
		}
		return c.link.send(kindReady, 0, accepts)
	case <-c.gone:
		return net.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Table returns where protected destinations lead now. It is there once Ready
// has returned.
func (c *Client) Table() destination.Table { return *c.table.Load() }

// Alerts returns the channel of what interception stopped. It is never closed.
func (c *Client) Alerts() <-chan redirect.Alert { return c.alerts }

// Healthy says why interception does not work, as redirect.Redirect.Healthy.
func (c *Client) Healthy() error {
	_, err := c.ask(context.Background(), kindHealthy, nil, 0)
	return err
}

// Counters returns what redirect.Redirect.Counters does, and what was lost in
// this process.
func (c *Client) Counters() (map[string]uint64, error) {
	got, err := c.ask(context.Background(), kindCounters, nil, 0)
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	counters := map[string]uint64{"proxy_lost": c.lost.Load()}
	for line := range bytes.Lines(got.body) {
		var name string
		var n uint64
		if _, err := fmt.Sscanf(string(line), "%s %d\n", &name, &n); err != nil {
			return nil, fmt.Errorf("read counters: %w", err)
		}
		counters[name] = n
	}
	return counters, nil
}

// Open opens a file that the Broker's Files name.
func (c *Client) Open(ctx context.Context, path string) (*os.File, error) {
	got, err := c.ask(ctx, kindOpen, []byte(path), 1)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(got.fds[0]), path), nil
}

// Sources reads the node through the privileged half, but for the list of its
// containers. The sockets are the Docker Engine's, Podman's and the pods'
// runtime's; who has an empty one is not asked.
func (c *Client) Sources(dockerSocket, podmanSocket, podSocket string) attribution.Sources {
	return attribution.Sources{
		Process:      c.process,
		Cgroup:       c.cgroup,
		Cgroups:      c.cgroups,
		Container:    c.container,
		Image:        c.image,
		NodeNetns:    attribution.OwnNetns(), // the halves are in one
		DockerSocket: dockerSocket,
		PodmanSocket: podmanSocket,
		Pod:          c.pod,
		Mounts:       func(ctx context.Context) ([]byte, error) { return c.record(ctx, kindMounts, nil) },
		PodSocket:    podSocket,
	}
}

func (c *Client) process(ctx context.Context, pid uint32, started time.Time) (*attribution.Process, error) {
	got, err := c.ask(ctx, kindProcess, pack(nil, process{PID: pid, SinceBoot: int64(started.Sub(c.booted))}), 2)
	if err != nil {
		return nil, err
	}
	p := described(got.body)
	p.Environ, p.Cmdline = os.NewFile(uintptr(got.fds[0]), "environ"), os.NewFile(uintptr(got.fds[1]), "cmdline")
	return p, nil
}

func (c *Client) cgroup(ctx context.Context, id uint64) (string, error) {
	got, err := c.ask(ctx, kindCgroup, pack(nil, id), 0)
	return string(got.body), err
}

func (c *Client) cgroups(ctx context.Context, pid int) ([]byte, error) {
	got, err := c.ask(ctx, kindCgroups, pack(nil, uint32(pid)), 0)
	return got.body, err
}

func (c *Client) container(ctx context.Context, of attribution.Engine, id string) ([]byte, error) {
	return c.inspect(ctx, kindContainer, byte(of), id)
}

func (c *Client) image(ctx context.Context, of attribution.Engine, id string) ([]byte, error) {
	return c.inspect(ctx, kindImage, byte(of), id)
}

func (c *Client) pod(ctx context.Context, call attribution.PodCall, id string) ([]byte, error) {
	return c.inspect(ctx, kindPod, byte(call), id)
}

// inspect asks whom or what a byte says about an id.
func (c *Client) inspect(ctx context.Context, kind kind, how byte, id string) ([]byte, error) {
	if len(id) != containerIDSize {
		return nil, errMalformed
	}
	return c.record(ctx, kind, append([]byte{how}, id...))
}

// record reads an answer that stands in a file.
func (c *Client) record(ctx context.Context, kind kind, body []byte) ([]byte, error) {
	got, err := c.ask(ctx, kind, body, 1)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(got.fds[0]), "record")
	defer file.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(file, attribution.MaxAnswer))
}
