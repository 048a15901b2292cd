package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluicegate/sluice/pkg/translog"
)

// Rotate makes a new signing key for an agent. The private half goes to out and
// is kept nowhere else. The agent's former keys are good until they are revoked,
// so that what waits in its spool is still taken.
func Rotate(cfg Config, name, out string) error {
	d := cfg.dir()
	e, err := readEnrolment(d.agent(name))
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	skey, vkey, err := translog.GenerateKey(translog.AgentKeyName(cfg.Cluster, name))
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	if err := writeNew(filepath.Join(out, SigningKeyFile), []byte(skey+"\n"), 0o600); err != nil {
		return fmt.Errorf("rotate: write the agent's key: %w", err)
	}
	if err := pin(d, vkey); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	e.Former, e.Key = append(e.Former, e.Key), vkey
	return e.write(d)
}

// revokeWait is how long after a revocation a running collector may still take
// something under the key, and how old the newest checkpoint may be.
const revokeWait = 2 * (watchEvery + keepEvery)

// Revoke ends the belief in one of an agent's keys: the collector takes nothing
// more under it, and the trust file tells verifiers from which leaf on. What it
// signed before holds. It returns the leaf.
func Revoke(cfg Config, name, vkey string) (from int64, err error) {
	d := cfg.dir()
	e, err := readEnrolment(d.agent(name))
	if err != nil {
		return 0, fmt.Errorf("revoke: %w", err)
	}
	at := slices.Index(e.Former, vkey)
	switch {
	case at >= 0:
		e.Former = slices.Delete(e.Former, at, at+1)
		err = e.write(d)
	case vkey == e.Key: // nothing is left to verify with: the agent is cut off
		err = os.Remove(d.agent(name))
	default:
		return 0, fmt.Errorf("revoke: %s has no such key", name)
	}
	if err != nil {
		return 0, fmt.Errorf("revoke: %w", err)
	}
	<-time.After(revokeWait) // no condition tells: another process may be at it, or none
	if from, err = newestSize(d); err != nil {
		return 0, fmt.Errorf("revoke: %w", err)
	}
	pinned, err := os.ReadFile(d.trust())
	if err != nil {
		return 0, fmt.Errorf("revoke: %w", err)
	}
	trust, err := translog.ParseTrust(pinned)
	if err != nil {
		return 0, err
	}
	trust.Revoked = append(trust.Revoked, translog.Revocation{Key: vkey, From: from})
	return from, writeTrust(d, trust)
}

// newestSize returns the size of the newest checkpoint, 0 before the first.
func newestSize(d dir) (int64, error) {
	signed, err := os.ReadFile(d.newest())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	logKey, err := os.ReadFile(d.logPublic())
	if err != nil {
		return 0, err
	}
	key, err := translog.NewVerifier(string(logKey))
	if err != nil {
		return 0, err
	}
	head, err := translog.OpenCheckpoint(signed, key)
	return head.Size, err
}

// write replaces what is kept of an agent.
func (e *enrolled) write(d dir) error {
	encoded, err := json.MarshalIndent(e.enrolment, "", "  ")
	if err != nil {
		return err
	}
	return replace(d.agent(e.Name), append(encoded, '\n'), 0o600)
}
