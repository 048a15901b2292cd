package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/pkg/trust"
)

// inputs are the files that only root reads, read before the proxy is root no
// more.
type inputs struct {
	rules   *policy.Policy
	servers agent.Servers
	keys    keys
	bus     bus.Security
	roster  []byte               // signed; nil where none is configured
	trust   *trust.Authority     // nil where none is configured
	hosts   *trust.HostAuthority // likewise

	// Made by loadIdentity, which needs the privileged half.
	identities *identity.Workloads
	borrower   *identity.Borrower
}

// load reads all, and reports everything that is wrong.
func load(cfg config.Agent) (inputs, error) {
	var in inputs
	var errs [7]error
	if in.rules, errs[0] = loadPolicy(cfg); errs[0] == nil {
		in.servers, errs[1] = agent.LoadServers(in.rules)
	}
	in.keys, errs[2] = loadKeys(cfg)
	in.bus, errs[3] = loadBus(cfg)
	in.roster, errs[4] = loadRoster(cfg)
	in.trust, errs[5] = loadAuthority(cfg)
	in.hosts, errs[6] = loadHostAuthority(cfg)
	return in, errors.Join(errs[:]...)
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

// loadRoster reads the signed roster, unseen.
func loadRoster(cfg config.Agent) ([]byte, error) {
	if cfg.Approvals.RosterFile == "" {
		return nil, nil
	}
	signed, err := os.ReadFile(string(cfg.Approvals.RosterFile))
	if err != nil {
		return nil, fmt.Errorf("approvals.roster_file: %w", err)
	}
	return signed, nil
}

// masking derives the key of hashed values from the agent's own, so that equal
// values get equal hashes for as long as the agent keeps its key.
func (k keys) masking() []byte {
	mac := hmac.New(sha256.New, k.private.Seed())
	mac.Write([]byte("sluice masked values"))
	return mac.Sum(nil)
}

// version is the module's version as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
