package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/telemetry"
	"github.com/sluicegate/sluice/pkg/translog"
)

// segmentBytes is the size of a spool segment: the largest entry fits, and a
// receipt frees the disk in steps of it.
const segmentBytes = 16 << 20

// run puts the agent together and guards until ctx ends. The order is that of
// trust: nothing is redirected before the trail is open, and the trail is
// sealed after the last session.
func run(ctx context.Context, cfg config.Agent) (err error) {
	log, err := telemetry.NewLogger(telemetry.JSON, "info", "stderr")
	if err != nil {
		return err
	}
	rules, err := loadPolicy(cfg)
	if err != nil {
		return err
	}
	secrets, err := loadKeys(cfg)
	if err != nil {
		return err
	}
	trail, err := openTrail(cfg, rules, secrets, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.close()) }()
	identities, err := identity.NewWorkloads(ctx, issuers(cfg))
	if err != nil {
		return err
	}
	speaks, err := protocols()
	if err != nil {
		return err
	}
	kernel, err := redirect.Open(redirect.Config{
		Pins: string(cfg.Redirect.Pins), Cgroup: string(cfg.Redirect.Cgroup), Port: cfg.Redirect.Port,
	}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kernel.Close()) }()
	registry := attribution.New(attribution.Config{
		CgroupRoot: kernel.CgroupRoot(), DockerSocket: string(cfg.Attribution.DockerSocket),
	}, log)
	guarding, err := agent.New(agent.Parts{
		Name: cfg.Name, Cluster: cfg.Cluster, Link: cfg.ConsoleURL, Strict: cfg.Audit.Durability == "strict",
		Policy: rules, Redirect: kernel, Registry: registry, Identities: identities,
		Trail: trail.log, Desk: trail.desk, Protocols: speaks, Ready: notifyReady, Log: log,
	})
	if err != nil {
		return err
	}
	return together(ctx, guarding, trail.log)
}

// together runs the agent and its trail. The trail outlives the agent, so that
// the end of the last session is in it before it is sealed.
func together(ctx context.Context, guarding *agent.Agent, trail *audit.Log) error {
	ending, seal := context.WithCancel(context.WithoutCancel(ctx))
	defer seal()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer seal()
		return guarding.Run(ctx)
	})
	group.Go(func() error { return trail.Run(ending) })
	return group.Wait()
}

func loadPolicy(cfg config.Agent) (*policy.Policy, error) {
	text, err := os.ReadFile(string(cfg.Policy))
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return policy.Parse(string(cfg.Policy), text)
}

// trail is the audit log with what it stands on.
type trail struct {
	log   *audit.Log
	bus   *bus.Agent
	spool *spool.Spool
	desk  *approval.Desk // nil: nobody can approve
}

func (t *trail) close() error {
	if t.bus != nil {
		t.bus.Close()
	}
	return t.spool.Close()
}

// openTrail opens the spool and the audit log over it, and begins to connect
// to the bus. A bus that is away keeps nobody from starting: the spool takes
// the records.
func openTrail(cfg config.Agent, rules *policy.Policy, keys keys, log *zap.Logger) (*trail, error) {
	collector, err := translog.NewVerifier(cfg.Collector.LogKey)
	if err != nil {
		return nil, fmt.Errorf("collector.log_key: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	queue, err := spool.Open(spool.Config{
		Dir: filepath.Join(string(cfg.StateDir), "spool"), Segment: segmentBytes, Limit: int64(cfg.Spool.Limit),
	})
	if err != nil {
		return nil, err
	}
	t := &trail{spool: queue}
	t.log, err = audit.Open(audit.Config{
		Spool: queue, Signer: keys.signer, Collector: collector, Cluster: cfg.Cluster, Agent: cfg.Name,
		About:         record.Agent{Version: version(), Host: host, Policy: rules.Hash()},
		ResponseLimit: int64(cfg.Audit.ResponseLimit),
		Publish:       func(ctx context.Context, note, payload []byte) error { return t.bus.PublishBatch(ctx, note, payload) },
		Sync:          t.sync,
		Log:           log,
	})
	if err == nil {
		err = t.connect(cfg, keys, log)
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// connect begins to connect to the bus, for the log and for the approvals.
func (t *trail) connect(cfg config.Agent, keys keys, log *zap.Logger) error {
	seed, err := os.ReadFile(string(cfg.Bus.NkeySeedFile))
	if err != nil {
		return fmt.Errorf("bus.nkey_seed_file: %w", err)
	}
	security := bus.Security{Seed: bytes.TrimSpace(seed)}
	if strings.HasPrefix(cfg.Bus.URL, "tls://") {
		if security.TLS, err = busTLS(string(cfg.Bus.CAFile)); err != nil {
			return fmt.Errorf("bus.ca_file: %w", err)
		}
	}
	t.bus, err = bus.ConnectAgent(bus.AgentConfig{
		URL: cfg.Bus.URL, Cluster: cfg.Cluster, Agent: cfg.Name, Security: security,
		Connected: t.log.Connected,
		Refused:   func(err error) { log.Error("The bus refuses this agent", zap.Error(err)) },
		Log:       log,
	})
	if err != nil {
		return err
	}
	if err := t.bus.OnReceipt(t.log.Deliver); err != nil {
		return err
	}
	if t.desk, err = openDesk(cfg, keys.private, t.bus, log); err != nil || t.desk == nil {
		return err
	}
	return t.bus.OnApproval(t.desk.Deliver)
}

// sync asks the collector for a receipt, and takes the answers to approvals
// that came while the bus was away.
func (t *trail) sync(ctx context.Context, request []byte) ([]byte, error) {
	reply, err := t.bus.Sync(ctx, request)
	if err != nil {
		return nil, err
	}
	for _, decision := range reply.Approvals {
		if t.desk != nil {
			t.desk.Deliver(decision.ID, decision.Message)
		}
	}
	return reply.Receipt, nil
}

func busTLS(caFile string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", caFile)
	}
	return cfg, nil
}

// keys are the agent's one Ed25519 key, for notes and for approval requests.
type keys struct {
	signer  *translog.Signer
	private ed25519.PrivateKey
}

func loadKeys(cfg config.Agent) (keys, error) {
	text, err := os.ReadFile(string(cfg.SigningKeyFile))
	if err != nil {
		return keys{}, fmt.Errorf("signing_key_file: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	var k keys
	if k.signer, err = translog.NewSigner(secret); err != nil {
		return keys{}, fmt.Errorf("signing_key_file: %w", err)
	}
	if k.private, err = translog.PrivateKey(secret); err != nil {
		return keys{}, fmt.Errorf("signing_key_file: %w", err)
	}
	return k, nil
}

func issuers(cfg config.Agent) []identity.Issuer {
	var all []identity.Issuer
	for _, issuer := range cfg.Identity.Issuers {
		one := identity.Issuer{
			URL: issuer.Issuer, CAFile: string(issuer.CAFile), Audience: issuer.Audience, TokenFile: string(issuer.TokenFile),
		}
		for _, bind := range issuer.Bind {
			one.Bind = append(one.Bind, identity.Binding{Claim: bind.Claim, To: bind.To})
		}
		all = append(all, one)
	}
	return all
}

// version is the module's version as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
