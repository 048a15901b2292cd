package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/trust"
)

// authorityLife is long enough to be renewed with a fleet's images.
const authorityLife = 365 * 24 * time.Hour

func authorityCommand() *cobra.Command {
	return configured("authority", "Make the authority for jobs that insist on TLS, bound to the policy's hosts", func(_ context.Context, _ string, cfg config.Agent) error {
		return makeAuthority(cfg)
	})
}

// makeAuthority writes the files that trust names. It replaces none: jobs
// believe the one that there is.
func makeAuthority(cfg config.Agent) error {
	if cfg.Trust.CAFile == "" {
		return errors.New("trust.ca_file is empty: write where the authority is to be kept")
	}
	rules, err := loadPolicy(cfg)
	if err != nil {
		return err
	}
	certificate, key, err := trust.New(agent.Bounds(rules), authorityLife)
	if err != nil {
		return err
	}
	if err := writeNew(string(cfg.Trust.KeyFile), key, 0o600); err != nil {
		return err
	}
	return writeNew(string(cfg.Trust.CAFile), certificate, 0o644)
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
