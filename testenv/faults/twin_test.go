package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// twinRole is the argument by which this binary knows that it is a second agent
// with the lab agent's keys.
const twinRole = "twin"

// twin writes one session as the lab's agent would, with a spool of its own.
func twin(keys, dir string) error {
	read := func(name string) (string, error) {
		text, err := os.ReadFile(filepath.Join(keys, name))
		return string(text), err
	}
	skey, err := read("signing.key")
	if err != nil {
		return err
	}
	vkey, err := read("log.pub")
	if err != nil {
		return err
	}
	seed, err := read("nkey.seed")
	if err != nil {
		return err
	}
	signer, err := translog.NewSigner(skey)
	if err != nil {
		return err
	}
	log, err := translog.NewVerifier(vkey)
	if err != nil {
		return err
	}
	queue, err := spool.Open(spool.Config{Dir: filepath.Join(dir, "spool"), Segment: 1 << 20, Limit: 64 << 20})
	if err != nil {
		return err
	}
	defer func() { _ = queue.Close() }()
	var agent *bus.Agent
	trail, err := audit.Open(audit.Config{
		Spool: queue, Signer: signer, Collector: log, Cluster: "main", Agent: "node1", Log: zap.NewNop(),
		Publish: func(ctx context.Context, note, payload []byte) error { return agent.PublishBatch(ctx, note, payload) },
		Sync: func(ctx context.Context, request []byte) ([]byte, error) {
			reply, err := agent.Sync(ctx, request)
			return reply.Receipt, err
		},
	})
	if err != nil {
		return err
	}
	agent, err = bus.ConnectAgent(bus.AgentConfig{
		URL: "nats://127.0.0.1:4222", Cluster: "main", Agent: "node1", Security: bus.Security{Seed: []byte(seed)},
		Connected: trail.Connected, Refused: func(error) {}, Log: zap.NewNop(),
	})
	if err != nil {
		return err
	}
	defer agent.Close()
	if err := agent.OnReceipt(trail.Deliver); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := trail.Session(&session.Session{ID: session.NewID(), Resource: "shop-db", Protocol: "postgres", Started: time.Now()})
	if err != nil {
		return err
	}
	if err := s.Intent(&operation.Operation{ID: 1, Text: operation.Text("SELECT 'twin'")}, record.Intent{Effect: "allow"}, true); err != nil {
		return err
	}
	if err := s.Close(record.Closed{Reason: "client"}); err != nil {
		return err
	}
	if err := trail.Run(ctx); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if trail.Pending() > 0 {
		return fmt.Errorf("%d batches have no receipt", trail.Pending())
	}
	return nil
}
