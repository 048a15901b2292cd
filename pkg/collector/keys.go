package collector

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/witness"
	"github.com/sluicegate/sluice/pkg/translog"
)

// ownKeys reads the key of the collector's own chain, and makes it where it is
// missing, together with its entry in the trust file.
func (c *Config) ownKeys() (*translog.Signer, string, error) {
	d := c.dir()
	if _, err := os.Stat(d.ownKey()); errors.Is(err, fs.ErrNotExist) {
		if err := c.makeOwnKey(); err != nil {
			return nil, "", fmt.Errorf("make the collector's own key: %w", err)
		}
	}
	skey, err := os.ReadFile(d.ownKey())
	if err != nil {
		return nil, "", fmt.Errorf("read the collector's own key: %w", err)
	}
	vkey, err := os.ReadFile(d.ownPublic())
	if err != nil {
		return nil, "", fmt.Errorf("read the collector's own key: %w", err)
	}
	signer, err := translog.NewSigner(string(skey))
	return signer, strings.TrimSpace(string(vkey)), err
}

// makeOwnKey writes the private key last: with it the set is complete.
func (c *Config) makeOwnKey() error {
	d := c.dir()
	skey, vkey, err := translog.GenerateKey(translog.AgentKeyName(c.Cluster, witness.Name))
	if err != nil {
		return err
	}
	if err := pin(d, vkey); err != nil {
		return err
	}
	if err := replace(d.ownPublic(), []byte(vkey+"\n"), 0o644); err != nil {
		return err
	}
	return writeNew(d.ownKey(), []byte(skey+"\n"), 0o600)
}

// pin adds a verifier key to those that verifiers believe.
func pin(d dir, vkey string) error {
	pinned, err := os.ReadFile(d.trust())
	if err != nil {
		return err
	}
	trust, err := translog.ParseTrust(pinned)
	if err != nil || slices.Contains(trust.Agents, vkey) {
		return err
	}
	trust.Agents = append(trust.Agents, vkey)
	return writeTrust(d, trust)
}

// consoleKey reads the key that signs votes in the console, and makes it where
// it is missing. It counts for nobody until a roster names it.
func (d dir) consoleKey() (ed25519.PrivateKey, error) {
	seed, err := os.ReadFile(d.voteKey())
	if errors.Is(err, fs.ErrNotExist) {
		return d.makeConsoleKey()
	}
	if err != nil {
		return nil, fmt.Errorf("read the console's key: %w", err)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, errors.New("read the console's key: it is not a seed of 32 bytes")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func (d dir) makeConsoleKey() (ed25519.PrivateKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	text, err := approval.FormatPublicKey(public)
	if err != nil {
		return nil, err
	}
	if err := replace(d.votePublic(), []byte(text+" console\n"), 0o644); err != nil {
		return nil, fmt.Errorf("make the console's key: %w", err)
	}
	return private, writeNew(d.voteKey(), private.Seed(), 0o600)
}
