package main

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/telemetry"
	"github.com/sluicegate/sluice/pkg/translog"
)

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
	authority, err := loadAuthority(cfg)
	if err != nil {
		return err
	}
	speaks, err := protocols()
	if err != nil {
		return err
	}
	kernel, err := redirect.Open(redirect.Config{
		Pins: string(cfg.Redirect.Pins), Cgroup: string(cfg.Redirect.Cgroup), Port: cfg.Redirect.Port,
		Exempt: cfg.Redirect.Exempt, DestroyOpen: cfg.Redirect.OpenConnections == "destroy",
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
		Policy: rules, MaskKey: secrets.masking(), Redirect: kernel, Registry: registry, Identities: identities, Trust: authority,
		Trail: trail.log, Desk: trail.desk, Protocols: speaks, Ready: notifyReady, Log: log,
	})
	if err != nil {
		return err
	}
	return together(ctx, guarding, trail.log, metrics(kernel, trail), cfg.Metrics.Listen)
}

// together runs the agent, its trail and its metrics page. The trail outlives
// the agent, so that the end of the last session is in it before it is sealed.
func together(ctx context.Context, guarding *agent.Agent, trail *audit.Log, page http.Handler, listen config.Address) error {
	ending, seal := context.WithCancel(context.WithoutCancel(ctx))
	defer seal()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer seal()
		return guarding.Run(ctx)
	})
	group.Go(func() error { return trail.Run(ending) })
	if listen.IsValid() {
		group.Go(func() error { return servePage(ctx, listen, page) })
	}
	return group.Wait()
}

func loadPolicy(cfg config.Agent) (*policy.Policy, error) {
	text, err := os.ReadFile(string(cfg.Policy))
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return policy.Parse(string(cfg.Policy), text)
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

// masking derives the key of hashed values from the agent's own, so that equal
// values get equal hashes for as long as the agent keeps its key.
func (k keys) masking() []byte {
	mac := hmac.New(sha256.New, k.private.Seed())
	mac.Write([]byte("sluice masked values"))
	return mac.Sum(nil)
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
