package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// segmentBytes is the size of a spool segment: the largest entry fits, and a
// receipt frees the disk in steps of it.
const segmentBytes = 16 << 20

// ordersFile, in the spool's directory, keeps the orders in force.
const ordersFile = "orders"

// trail is the audit log with what it stands on.
type trail struct {
	cfg config.Agent
	in  inputs
	zap *zap.Logger

	privileged *broker.Client

	log  *audit.Log // what sessions write to
	bus  *bus.Agent
	desk *approval.Desk // nil: nobody can approve

	orders   *agent.Orders
	policies *agent.Policies
	reviewed *agent.Preapprovals

	now  atomic.Pointer[writing]
	runs errgroup.Group

	inherited chan struct{} // closed when the records of a proxy before have ended; nil: there was none
}

// writing is what spools, signs and sends: the log of the trail, unless that was
// handed over and taken back.
type writing struct {
	log   *audit.Log
	spool *spool.Spool
}

func (t *trail) close() error {
	if t.bus != nil {
		t.bus.Close()
	}
	return t.now.Load().spool.Close()
}

// openTrail opens the spool and the audit log over it, in the working
// directory, and begins to connect to the bus. A bus that is away keeps nobody from starting: the spool takes
// the records. With a baton the log carries on what another process began.
func openTrail(cfg config.Agent, in inputs, privileged *broker.Client, baton *audit.Baton, log *zap.Logger) (*trail, error) {
	t := &trail{cfg: cfg, in: in, privileged: privileged, zap: log}
	w, err := t.open(baton)
	if err != nil {
		return nil, err
	}
	t.log = w.log
	t.now.Store(w)
	if err := t.connect(cfg, in, log); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *trail) open(baton *audit.Baton) (*writing, error) {
	collector, err := translog.NewVerifier(t.cfg.Collector.LogKey)
	if err != nil {
		return nil, fmt.Errorf("collector.log_key: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	queue, err := spool.Open(spool.Config{
		Dir: ".", Segment: segmentBytes, Limit: int64(t.cfg.Spool.Limit),
	})
	if err != nil {
		return nil, err
	}
	log, err := audit.Open(audit.Config{
		Spool: queue, Signer: t.in.keys.signer, Collector: collector, Cluster: t.cfg.Cluster, Agent: t.cfg.Name, Baton: baton,
		About:         record.Agent{Version: version(), Host: host, Policy: t.in.rules.Hash()},
		ResponseLimit: int64(t.cfg.Audit.ResponseLimit),
		Remote:        t.cfg.Audit.Durability == "remote",
		OnFull:        audit.OnFull(t.cfg.Audit.OnFull),
		Publish:       func(ctx context.Context, note, payload []byte) error { return t.bus.PublishBatch(ctx, note, payload) },
		Sync:          t.sync,
		Log:           t.zap,
	})
	if err != nil {
		return nil, errors.Join(err, queue.Close())
	}
	return &writing{log, queue}, nil
}

// connect begins to connect to the bus, for the log and for the approvals.
func (t *trail) connect(cfg config.Agent, in inputs, log *zap.Logger) (err error) {
	t.bus, err = bus.ConnectAgent(bus.AgentConfig{
		URL: cfg.Bus.URL, Cluster: cfg.Cluster, Agent: cfg.Name, Security: in.bus,
		Connected: func() { t.now.Load().log.Connected() },
		Refused:   func(err error) { log.Error("The bus refuses this agent", zap.Error(err)) },
		Log:       log,
	})
	if err != nil {
		return err
	}
	if err := t.bus.OnReceipt(func(receipt []byte) { t.now.Load().log.Deliver(receipt) }); err != nil {
		return err
	}
	return t.people(cfg, in, log)
}

// people opens what listens to people: approvals, orders and policies. Without a roster
// there is nobody to believe.
func (t *trail) people(cfg config.Agent, in inputs, log *zap.Logger) error {
	roster, err := openPeople(cfg, in)
	if err != nil {
		return err
	}
	current := func() *approval.Roster { return roster }
	if t.orders, err = agent.OpenOrders(ordersFile, current, t.log.Order, log); err != nil {
		return err
	}
	if t.policies, err = openPolicies(cfg, in, current, t.privileged, t.log, log); err != nil || roster == nil {
		return err
	}
	t.reviewed = agent.NewPreapprovals(reviewedDir, cfg.Cluster, current, t.orders.Lifted, log)
	t.desk = openDesk(in, current, t.reviewed, t.bus, log)
	return errors.Join(t.bus.OnApproval(t.desk.Deliver), t.bus.OnOrder(t.ordered), t.bus.OnPolicy(t.policies.Deliver))
}

// ordered takes what a person signed for all agents.
func (t *trail) ordered(signed []byte) {
	if _, ok := approval.PreapprovalID(signed); !ok {
		t.orders.Deliver(signed)
	} else if t.reviewed != nil {
		t.reviewed.Deliver(signed)
	}
}

// sync asks the collector for a receipt, and takes the answers to approvals
// and the orders that came while the bus was away.
func (t *trail) sync(ctx context.Context, request []byte) ([]byte, error) {
	reply, err := t.bus.SyncFrom(ctx, request, t.policies.Sequence())
	if err != nil {
		return nil, err
	}
	for _, decision := range reply.Approvals {
		if t.desk != nil {
			t.desk.Deliver(decision.ID, decision.Message)
		}
	}
	for _, order := range reply.Orders {
		t.ordered(order)
	}
	if t.desk != nil && len(reply.Policy) > 0 && string(reply.Policy) != "null" {
		t.policies.Deliver(reply.Policy)
	}
	return reply.Receipt, nil
}
