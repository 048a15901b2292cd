package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/confine"
	"github.com/sluicegate/sluice/pkg/telemetry"
)

// proxyName is the command that run starts; nobody else calls it.
const proxyName = "proxy"

// heapGrowth is how much of the heap may be garbage, in per cent of what lives:
// that is little, and nearly all that is allocated is a batch on its way.
const heapGrowth = 400

// proxy is the half that serves. It reads what only root may read, gives up
// everything, and only then opens the trail and takes its first connection.
func proxy(ctx context.Context, cfg config.Agent) error {
	debug.SetGCPercent(heapGrowth)
	log, err := telemetry.NewLogger(telemetry.JSON, "info", "stderr")
	if err != nil {
		return err
	}
	in, err := load(cfg)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	privileged, err := broker.Attach(os.NewFile(broker.Descriptor, "broker"), broker.RecordFiles(), stop)
	if err != nil {
		return err
	}
	in.identities, in.borrower, err = loadIdentity(ctx, cfg, privileged.Open, privileged.DialContext)
	if err == nil {
		err = giveUp(cfg)
	}
	if err == nil {
		err = serve(ctx, cfg, in, privileged, log)
	}
	return errors.Join(err, privileged.Close())
}

// giveUp makes this process the user of the configuration, in the one directory
// that belongs to that user: the way there may lead through others.
func giveUp(cfg config.Agent) error {
	user, err := confine.Lookup(cfg.Proxy.User)
	if err != nil {
		return fmt.Errorf("proxy.user: %w", err)
	}
	dir := spoolDir(cfg)
	if err := confine.Own(dir, user); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	return confine.Enter(user)
}

// spoolDir is what of the state directory the proxy owns.
func spoolDir(cfg config.Agent) string { return filepath.Join(string(cfg.StateDir), "spool") }

// serve guards until ctx ends. The order is that of trust: nothing is served
// before the trail is open, and the trail is sealed after the last session.
func serve(ctx context.Context, cfg config.Agent, in inputs, privileged *broker.Client, log *zap.Logger) (err error) {
	speaks, err := protocols(".") // takes a while: before anybody waits for the trail
	if err != nil {
		return err
	}
	trail, err := inherit(ctx, privileged, func(baton *audit.Baton) (*trail, error) { return openTrail(cfg, in, privileged, baton, log) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.close()) }()
	guarding, err := agent.New(agent.Parts{
		Name: cfg.Name, Cluster: cfg.Cluster, Link: cfg.ConsoleURL, Strict: cfg.Audit.Durability != "default",
		Policy: in.rules, MaskKey: in.keys.masking(), Servers: in.servers, Trust: in.trust, HostTrust: in.hosts, Broker: privileged,
		Borrower: in.borrower, Identities: in.identities,
		Registry: attribution.New(privileged.Sources(
			string(cfg.Attribution.DockerSocket), string(cfg.Attribution.PodmanSocket), string(cfg.Attribution.CRISocket)), log),
		Trail: trail.log, Desk: trail.desk, Orders: trail.orders, Policies: trail.policies, Protocols: speaks, Log: log,
	})
	if err != nil {
		return err
	}
	return together(ctx, guarding, trail, privileged, &page{listen: cfg.Metrics.Listen, handler: metrics(privileged, trail, guarding)})
}

// together runs the agent, its trail and its metrics page. The trail outlives
// the agent, so that the end of the last session is in it before it is sealed.
func together(ctx context.Context, guarding *agent.Agent, trail *trail, privileged *broker.Client, page *page) (err error) {
	if err := page.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, page.close()) }()
	ending, seal := context.WithCancel(context.WithoutCancel(ctx))
	defer seal()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer seal()
		err := guarding.Run(ctx)
		if err == nil {
			trail.outlast(ctx)
		}
		return err
	})
	group.Go(func() error { return trail.run(ending, privileged, page) })
	return group.Wait()
}
