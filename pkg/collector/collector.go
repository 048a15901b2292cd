// Package collector is the program that keeps, searches and proves what agents
// record, and that carries approvals to people.
//
// It runs an embedded NATS server and one SQLite database in one directory.
// It believes no batch that it has not verified, hands out no receipt for what
// is not durable, and cannot make a vote. The log's private key and the
// bootstrap token's hash never leave the directory. It has no part in
// decisions: with the collector away, agents go on by their policy and keep
// their records, and what needs a person is denied at its deadline.
package collector

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/cosign"
	"github.com/sluicegate/sluice/pkg/collector/forward"
	"github.com/sluicegate/sluice/pkg/collector/ingest"
	"github.com/sluicegate/sluice/pkg/collector/notify"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/collector/witness"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// patience is how long a batch waits for one before it that has not come.
const patience = 5 * time.Minute

// Collector is a running collector's parts. Open makes it, Run works until it
// is told to stop, Close releases everything.
type Collector struct {
	// ReadSQL reads a recorded statement again when the console simulates a
	// policy, by the protocol; it is set before Run. nil: what records say, which
	// is less. This package does not link the parser.
	ReadSQL map[string]func(text []byte) (statements []operation.SQLStatement, parsed bool)
	// ReadCommands likewise reads a recorded command line.
	ReadCommands func(line string) (commands []operation.SSHCommand, certain bool)

	cfg     Config
	log     *zap.Logger
	store   *store.Store
	agents  *registry
	nats    *embedded
	bus     *bus.Collector
	ingest  *ingest.Ingest
	ask     *approvals
	orders  *orders
	rules   *policies
	callers *callers
	witness *witness.Witness
	ownKey  string // verifier key of the collector's own chain
	api     net.Listener
	senders []*notify.Sender

	forwarders []*forward.Sender
	cosigner   *cosign.Cosigner
}

// Open starts what must stand before the first message: database, bus,
// listener. Nothing is consumed yet. ctx must last as long as the collector.
func Open(ctx context.Context, cfg Config, log *zap.Logger) (*Collector, error) {
	c := &Collector{cfg: cfg, log: log}
	for _, part := range []func(context.Context) error{c.openStore, c.openBus, c.openIngest, c.openWitness, c.openApprovals, c.openAPI, c.openSenders, c.openForwarders} {
		if err := part(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// Reindex makes the derived tables anew. It needs the database to itself.
func Reindex(ctx context.Context, cfg Config) error {
	signer, key, err := cfg.dir().logKeys(cfg.origin())
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, cfg.dir().database(), key, signer)
	if err != nil {
		return err
	}
	return errors.Join(db.Reindex(ctx), db.Close())
}

// APIAddress is where the API listens.
func (c *Collector) APIAddress() net.Addr { return c.api.Addr() }

// BusURL is where agents connect.
func (c *Collector) BusURL() string {
	if c.nats == nil {
		return c.cfg.Bus.URL
	}
	return c.nats.server.ClientURL()
}

func (c *Collector) openStore(ctx context.Context) error {
	signer, key, err := c.cfg.dir().logKeys(c.cfg.origin())
	if err != nil {
		return err
	}
	if c.store, err = store.Open(ctx, c.cfg.dir().database(), key, signer); err != nil {
		return err
	}
	if err := checkNewest(ctx, c.cfg.dir(), c.store, key); err != nil {
		return err
	}
	if c.cosigner, err = c.newCosigner(key); err != nil {
		return err
	}
	c.agents, err = openRegistry(c.cfg.dir().agents(), c.log)
	return err
}

func (c *Collector) openBus(ctx context.Context) (err error) {
	cfg := bus.CollectorConfig{
		Cluster: c.cfg.Cluster, StreamBytes: int64(c.cfg.Bus.StreamLimit), Replicas: c.cfg.Bus.Replicas, Log: c.log.Named("bus"),
	}
	if c.cfg.Bus.URL != "" {
		cfg.URL, cfg.Patient = c.cfg.Bus.URL, true
		cfg.Security, err = c.cfg.Bus.security()
	} else if c.nats, err = startNATS(c.cfg, c.agents, c.log); err == nil {
		cfg.InProcess, cfg.Security = c.nats.server, bus.Security{Seed: c.nats.seed}
	}
	if err != nil {
		return err
	}
	c.bus, err = bus.ConnectCollector(ctx, cfg)
	return err
}

func (c *Collector) openIngest(context.Context) error {
	c.ingest = ingest.New(ingest.Config{
		Store: c.store, Cluster: c.cfg.Cluster, Origin: c.cfg.origin(),
		Key: c.agents.key, Send: c.bus.SendReceipt, Log: c.log.Named("ingest"),
	})
	return nil
}

func (c *Collector) openWitness(ctx context.Context) error {
	signer, vkey, err := c.cfg.ownKeys()
	if err != nil {
		return err
	}
	c.ownKey = vkey
	c.witness, err = witness.New(ctx, witness.Config{Store: c.store, Cluster: c.cfg.Cluster, Signer: signer, Log: c.log.Named("witness")})
	return err
}

func (c *Collector) openApprovals(context.Context) error {
	roster := &rosterFile{path: string(c.cfg.Approvals.RosterFile)}
	if roster.path != "" {
		root, err := approval.ParsePublicKey(c.cfg.Approvals.RootKey)
		if err != nil {
			return fmt.Errorf("approvals.root_key: %w", err)
		}
		roster.root = ed25519.PublicKey(root)
		if _, err := roster.current(); err != nil {
			return err
		}
	}
	c.ask = &approvals{
		store: c.store, agents: c.agents, cluster: c.cfg.Cluster, roster: roster,
		send: c.bus.SendApproval, witness: c.acted, log: c.log.Named("approvals"),
	}
	c.orders = &orders{store: c.store, cluster: c.cfg.Cluster, agents: c.agents, roster: roster, send: c.bus.SendOrder, witness: c.acted, log: c.log.Named("orders")}
	c.rules = &policies{
		store: c.store, agents: c.agents, cluster: c.cfg.Cluster, roster: roster,
		send: c.bus.SendPolicy, witness: c.acted, log: c.log.Named("policies"),
	}
	return nil
}

func (c *Collector) openAPI(ctx context.Context) (err error) {
	if c.callers, err = openCallers(ctx, &c.cfg); err != nil {
		return err
	}
	if c.api, err = new(net.ListenConfig).Listen(ctx, "tcp", c.cfg.API.Listen.String()); err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	if c.cfg.API.CertFile == "" {
		return nil
	}
	certificate, err := tls.LoadX509KeyPair(string(c.cfg.API.CertFile), string(c.cfg.API.KeyFile))
	if err != nil {
		return fmt.Errorf("api: load certificate: %w", err)
	}
	c.api = tls.NewListener(c.api, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}})
	return nil
}

// Run works until ctx ends or a part fails, and returns when all parts have
// stopped.
func (c *Collector) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range c.senders {
		group.Go(func() error { return s.Run(ctx) })
	}
	for _, f := range c.forwarders {
		group.Go(func() error { return f.Run(ctx) })
	}
	for _, part := range []func(context.Context) error{
		c.store.IndexWords,
		c.witness.Run,
		c.keepNewest,
		c.cosigner.Run,
		c.watchBus,
		c.retain,
		func(ctx context.Context) error { return c.bus.Batches(ctx, c.ingest.Handle) },
		func(ctx context.Context) error { return c.bus.ApprovalRequests(ctx, c.ask.request) },
		func(ctx context.Context) error { return c.bus.ServeSync(ctx, c.sync) },
		func(ctx context.Context) error { return c.ingest.Release(ctx, patience) },
		func(ctx context.Context) error { return c.agents.watch(ctx, c.reloadBus) },
		c.serve,
	} {
		group.Go(func() error { return part(ctx) })
	}
	c.log.Info("Collector runs", zap.Stringer("api", c.APIAddress()), zap.String("bus", c.BusURL()))
	return group.Wait()
}

func (c *Collector) sync(ctx context.Context, agent string, request []byte, policy uint64) (bus.SyncReply, error) {
	receipt, err := c.ingest.Sync(ctx, agent, request)
	if err != nil {
		return bus.SyncReply{}, err
	}
	decisions, err := c.ask.decisions(ctx, agent)
	if err != nil {
		return bus.SyncReply{}, err
	}
	orders, err := c.store.Orders(ctx)
	if err != nil {
		return bus.SyncReply{}, err
	}
	published, err := c.rules.above(ctx, agent, policy)
	return bus.SyncReply{Receipt: receipt, Approvals: decisions, Orders: orders, Policy: published}, err
}

// Limits of one connection to the API.
const (
	headTime    = 5 * time.Second
	bodyTime    = 30 * time.Second
	answerTime  = time.Minute // exports ask for more
	idleTime    = 2 * time.Minute
	stopTime    = 5 * time.Second
	headerBytes = 32 << 10
)

func (c *Collector) serve(ctx context.Context) error {
	limiter := api.NewLimiter()
	console, err := c.console(ctx, limiter)
	if err != nil {
		return err
	}
	both := http.NewServeMux()
	both.Handle("/", console)
	both.Handle("/v1/", c.rest(limiter))
	server := &http.Server{
		Handler: both,

		ReadHeaderTimeout: headTime, ReadTimeout: bodyTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: headerBytes, ErrorLog: zap.NewStdLog(c.log.Named("http")),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		if err := server.Shutdown(patient); err != nil {
			stopped <- server.Close()
			return
		}
		stopped <- nil
	}()
	if err := server.Serve(c.api); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return <-stopped
}

// rest returns the API.
func (c *Collector) rest(limiter *api.Limiter) http.Handler {
	return api.New(api.Config{
		Store: c.store, Identify: c.callers.identify, Vote: c.ask.vote, Approver: c.ask.approver,
		Order: c.orders.give, Orders: c.orders.list, Review: c.orders.review, Reviewed: c.orders.reviewed,
		Publish: c.rules.publish, Policies: c.rules.list, Policy: c.rules.one,
		Agents: c.chains, Witness: c.acted, Log: c.log.Named("api"),
		Export: func(ctx context.Context, to io.Writer, sees view.Scope, what api.Selection) error {
			return export(ctx, c.store, to, sees, what)
		},
		Login:   view.Login{Issuer: c.cfg.People.Issuer, ClientID: c.cfg.People.Audience, Scopes: c.cfg.People.Scopes},
		Limiter: limiter,
	})
}

// acted puts an act of a caller on the record.
func (c *Collector) acted(ctx context.Context, by api.Caller, act api.Act) error {
	err := c.witness.Record(ctx, witness.Act{
		Person: record.Person{Act: act.Kind, Name: by.Name, Issuer: by.Issuer, Subject: by.Subject, From: by.From}, About: act.Subject,
	})
	if err != nil {
		return &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "this cannot be recorded now, and is not done unrecorded"}
	}
	return nil
}

// chains lists agents: those that have sent records, and those that have not.
func (c *Collector) chains(ctx context.Context) ([]view.Chain, error) {
	chains, err := c.store.Chains(ctx)
	if err != nil {
		return nil, err
	}
	enrolled := c.agents.all()
	known := map[string]bool{}
	for i := range chains {
		known[chains[i].Agent] = true
		chains[i].Key = enrolled[chains[i].Agent].Key
		if chains[i].Agent == witness.Name {
			chains[i].Key = c.ownKey
		}
	}
	for name, agent := range enrolled {
		if !known[name] {
			chains = append(chains, view.Chain{Agent: name, Key: agent.Key})
		}
	}
	return chains, nil
}

// Close releases everything, the API first and the database last, so that
// nothing is taken in that cannot be kept.
func (c *Collector) Close() error {
	var errs []error
	if c.api != nil {
		if err := c.api.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if c.bus != nil {
		c.bus.Close()
	}
	if c.nats != nil {
		c.nats.stop()
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	return errors.Join(errs...)
}
