package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol/ssh"
	"github.com/sluicegate/sluice/pkg/trust"
)

// authorityLife is long enough to be renewed with a fleet's images.
const authorityLife = 365 * 24 * time.Hour

func authorityCommand() *cobra.Command {
	return configured("authority", "Make the authorities that jobs have to believe, for TLS and for SSH hosts, bound to the policy's hosts", func(_ context.Context, _ string, cfg config.Agent) error {
		return makeAuthority(cfg)
	})
}

// makeAuthority writes the files that trust names. It replaces none: jobs
// believe the one that there is.
func makeAuthority(cfg config.Agent) error {
	if cfg.Trust.CAFile == "" && cfg.Trust.SSHKeyFile == "" {
		return errors.New("trust.ca_file and trust.ssh_key_file are empty: write where an authority is to be kept")
	}
	rules, err := loadPolicy(cfg)
	if err != nil {
		return err
	}
	var errs [2]error
	if cfg.Trust.CAFile != "" {
		errs[0] = makeTLSAuthority(cfg, rules)
	}
	if cfg.Trust.SSHKeyFile != "" {
		errs[1] = makeHostAuthority(string(cfg.Trust.SSHKeyFile), rules)
	}
	return errors.Join(errs[:]...)
}

func makeTLSAuthority(cfg config.Agent, rules *policy.Policy) error {
	certificate, key, err := trust.New(agent.Bounds(rules), authorityLife)
	if err != nil {
		return err
	}
	if err := writeNew(string(cfg.Trust.KeyFile), key, 0o600); err != nil {
		return err
	}
	return writeNew(string(cfg.Trust.CAFile), certificate, 0o644)
}

// makeHostAuthority writes the key, its public half, and what jobs need to
// believe it. The last of these follows the policy: an authority that exists
// is kept, and its known hosts are written anew.
func makeHostAuthority(file string, rules *policy.Policy) error {
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = newHostAuthority(file)
	}
	if err != nil {
		return fmt.Errorf("trust.ssh_key_file: %w", err)
	}
	authority, err := trust.LoadHostAuthority(key)
	if err != nil {
		return fmt.Errorf("trust.ssh_key_file: %w", err)
	}
	known, err := authority.KnownHosts(agent.Places(rules, ssh.Name))
	if err != nil {
		return err
	}
	return os.WriteFile(file+".known_hosts", known, 0o644) //nolint:gosec // public
}

func newHostAuthority(file string) ([]byte, error) {
	key, public, err := trust.NewHostAuthority()
	if err != nil {
		return nil, err
	}
	if err := writeNew(file+".pub", public, 0o644); err != nil {
		return nil, err
	}
	return key, writeNew(file, key, 0o600)
}

func writeNew(name string, text []byte, mode os.FileMode) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Sync(), file.Close())
}

// loadAuthority reads the authority; nil where none is configured.
func loadAuthority(cfg config.Agent) (*trust.Authority, error) {
	if cfg.Trust.CAFile == "" {
		return nil, nil
	}
	certificate, err := os.ReadFile(string(cfg.Trust.CAFile))
	if err != nil {
		return nil, fmt.Errorf("trust.ca_file: %w", err)
	}
	key, err := os.ReadFile(string(cfg.Trust.KeyFile))
	if err != nil {
		return nil, fmt.Errorf("trust.key_file: %w", err)
	}
	authority, err := trust.Load(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return authority, nil
}

// loadHostAuthority reads the authority for SSH hosts; nil where none is
// configured.
func loadHostAuthority(cfg config.Agent) (*trust.HostAuthority, error) {
	if cfg.Trust.SSHKeyFile == "" {
		return nil, nil
	}
	key, err := os.ReadFile(string(cfg.Trust.SSHKeyFile))
	if err != nil {
		return nil, fmt.Errorf("trust.ssh_key_file: %w", err)
	}
	authority, err := trust.LoadHostAuthority(key)
	if err != nil {
		return nil, fmt.Errorf("trust.ssh_key_file: %w", err)
	}
	return authority, nil
}
