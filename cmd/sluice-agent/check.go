package main

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/translog"
)

// check reads every file that the configuration names, as run would, and
// reports all that is wrong with them at once.
func check(cfg config.Agent) error {
	var errs []error
	_, err := translog.NewVerifier(cfg.Collector.LogKey)
	if err != nil {
		err = fmt.Errorf("collector.log_key: %w", err)
	}
	errs = append(errs, err)
	_, err = loadKeys(cfg)
	errs = append(errs, err)
	if cfg.Approvals.RosterFile != "" {
		_, _, err = openRoster(cfg)
		errs = append(errs, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err = identity.NewWorkloads(ctx, issuers(cfg))
	errs = append(errs, err)
	return errors.Join(append(errs, checkPolicy(cfg))...)
}

// checkPolicy also tries whether this agent can serve the policy's resources.
func checkPolicy(cfg config.Agent) error {
	rules, err := loadPolicy(cfg)
	if err != nil {
		return err
	}
	speaks, err := protocols()
	if err != nil {
		return err
	}
	authority, err := loadAuthority(cfg)
	if err != nil {
		return err
	}
	_, err = agent.New(agent.Parts{Policy: rules, Protocols: speaks, Trust: authority, Log: zap.NewNop()})
	return err
}
