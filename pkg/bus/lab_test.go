package bus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/bus"
)

// lab is one real server, with a user for the collector and one for each
// agent, with exactly the permissions that the package names.
type lab struct {
	dir       string
	port      int
	server    *server.Server
	collector []byte // seed
	agents    map[string][]byte
	users     []*server.NkeyUser
}

func newLab(t *testing.T, agents ...string) *lab {
	t.Helper()
	l := &lab{dir: t.TempDir(), port: server.RANDOM_PORT, agents: map[string][]byte{}}
	seed, public, err := bus.NewUser()
	must(t, err)
	l.collector = seed
	l.users = append(l.users, &server.NkeyUser{Nkey: public})
	for _, name := range agents {
		seed, public, err := bus.NewUser()
		must(t, err)
		allowed, err := bus.AgentPermissions(cluster, name)
		must(t, err)
		l.agents[name] = seed
		l.users = append(l.users, &server.NkeyUser{Nkey: public, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: allowed.Publish},
			Subscribe: &server.SubjectPermission{Allow: allowed.Subscribe},
		}})
	}
	l.start(t)
	t.Cleanup(l.stop)
	return l
}

// start runs the server, on the same port each time.
func (l *lab) start(t *testing.T) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: l.port, JetStream: true, StoreDir: l.dir, JetStreamMaxStore: 64 << 20, NoSigs: true, NoLog: true, Nkeys: l.users,
	})
	must(t, err)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats-server did not start")
	}
	l.server = s
	var port int
	_, err = fmt.Sscanf(s.ClientURL(), "nats://127.0.0.1:%d", &port)
	must(t, err)
	l.port = port
}

func (l *lab) stop() {
	l.server.Shutdown()
	l.server.WaitForShutdown()
}

func (l *lab) connectCollector(t *testing.T) *bus.Collector {
	t.Helper()
	c, err := bus.ConnectCollector(t.Context(), bus.CollectorConfig{
		URL: l.server.ClientURL(), Cluster: cluster, Security: bus.Security{Seed: l.collector}, StreamBytes: 8 << 20, Log: zap.NewNop(),
	})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func (l *lab) connectAgent(t *testing.T, name string) *bus.Agent {
	t.Helper()
	connected := make(chan struct{}, 16)
	a, err := bus.ConnectAgent(bus.AgentConfig{
		URL: l.server.ClientURL(), Cluster: cluster, Agent: name, Security: bus.Security{Seed: l.agents[name]},
		Connected: func() {
			select {
			case connected <- struct{}{}:
			default:
			}
		}, Log: zap.NewNop(),
	})
	must(t, err)
	t.Cleanup(a.Close)
	select {
	case <-connected:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s never connected: %v", name, a.Status())
	}
	return a
}

// inbox collects what a consumer hands over.
type inbox struct {
	mu   sync.Mutex
	got  []bus.BatchMessage
	more chan struct{}
}

func consume(t *testing.T, c *bus.Collector) *inbox {
	t.Helper()
	in := &inbox{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Batches(ctx, func(_ context.Context, group []bus.BatchMessage) error {
			in.mu.Lock()
			in.got = append(in.got, group...)
			in.mu.Unlock()
			select {
			case in.more <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	return in
}

func (in *inbox) wait(t *testing.T, n int) []bus.BatchMessage {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		in.mu.Lock()
		got := in.got
		in.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-in.more:
		case <-deadline:
			t.Fatalf("got %d batches, want %d", len(got), n)
		}
	}
}
