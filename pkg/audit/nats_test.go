package audit_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// natsServer is a real server that can be stopped, wiped and started again.
type natsServer struct {
	*server.Server
	port int
}

func (n *natsServer) start(t *testing.T, dir string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n.port, JetStream: true, StoreDir: dir, JetStreamMaxStore: 256 << 20, NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats-server did not start")
	}
	_, err = fmt.Sscanf(s.ClientURL(), "nats://127.0.0.1:%d", &n.port)
	must(t, err)
	n.Server = s
}

func (n *natsServer) stop() {
	n.Shutdown()
	n.WaitForShutdown()
}

// Whatever the bus loses, every batch is in the log in the end, once.
func TestNothingIsLostWhateverTheBusDoes(t *testing.T) {
	n := &natsServer{port: server.RANDOM_PORT}
	n.start(t, t.TempDir())
	t.Cleanup(func() { n.stop() })
	c := newCollector(t, newKeys(t))
	serveOverBus(t, n, c)

	sp, err := spool.Open(spool.Config{Dir: t.TempDir(), Segment: 1 << 20, Limit: 64 << 20})
	must(t, err)
	t.Cleanup(func() { must(t, sp.Close()) })
	verifier, err := translog.NewVerifier(c.keys.logPub)
	must(t, err)
	var wire *bus.Agent
	l, err := audit.Open(audit.Config{
		Spool: sp, Signer: c.keys.agent, Collector: verifier, Cluster: cluster, Agent: agent, Log: zap.NewNop(),
		Publish: func(ctx context.Context, note, payload []byte) error { return wire.PublishBatch(ctx, note, payload) },
		Sync: func(ctx context.Context, request []byte) ([]byte, error) {
			reply, err := wire.Sync(ctx, request)
			return reply.Receipt, err
		},
	})
	must(t, err)
	wire, err = bus.ConnectAgent(bus.AgentConfig{URL: n.ClientURL(), Cluster: cluster, Agent: agent, Connected: l.Connected, Log: zap.NewNop()})
	must(t, err)
	t.Cleanup(wire.Close)
	must(t, wire.OnReceipt(l.Deliver))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()

	s := openSession(t, l, "s1")
	write := func(from int) {
		for i := range 500 {
			query(t, s, uint64(from+i), "SELECT 1")
		}
	}
	write(1)
	eventually(t, "the first receipts", func() bool { return l.Pending() == 0 })
	c.set(func() { c.mute = true }) // receipts are lost
	write(501)
	eventually(t, "batches without receipts", func() bool { return l.Pending() > 0 })
	n.stop() // away, under load
	write(1001)
	c.set(func() { c.mute = false })
	n.start(t, t.TempDir()) // and back without its data
	write(1501)
	must(t, s.Close(record.Closed{Reason: "client"}))
	eventually(t, "every receipt", func() bool { return l.Pending() == 0 })
	cancel()
	must(t, <-done)

	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	expectOK(t, report)
	if want := 1 + 1 + 2000*3 + 1; report.Records != want {
		t.Errorf("got %d records, want %d", report.Records, want)
	}
}

// serveOverBus runs the collector behind a real bus.
func serveOverBus(t *testing.T, n *natsServer, c *collector) {
	t.Helper()
	b, err := bus.ConnectCollector(t.Context(), bus.CollectorConfig{URL: n.ClientURL(), Cluster: cluster, StreamBytes: 64 << 20, Log: zap.NewNop()})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	t.Cleanup(func() { cancel(); work.Wait(); b.Close() })
	work.Go(func() {
		_ = b.ServeSync(ctx, func(ctx context.Context, _ string, request []byte, _ uint64) (bus.SyncReply, error) {
			receipt, err := c.Sync(ctx, request)
			return bus.SyncReply{Receipt: receipt}, err
		})
	})
	work.Go(func() {
		_ = b.Batches(ctx, func(_ context.Context, group []bus.BatchMessage) error {
			for _, m := range group {
				c.mu.Lock()
				receipt, err := c.ingest(m.Note, m.Payload)
				mute := c.mute
				c.mu.Unlock()
				if err != nil {
					return err
				}
				if !mute {
					_ = b.SendReceipt(m.Agent, receipt)
				}
			}
			return nil
		})
	})
}
