package main

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/confine"
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
	if _, err = confine.Lookup(cfg.Proxy.User); err != nil {
		errs = append(errs, fmt.Errorf("proxy.user: %w", err))
	}
	in, err := load(cfg)
	errs = append(errs, err)
	if in.roster != nil {
		_, _, err = openRoster(cfg, in.roster, spoolDir(cfg))
		errs = append(errs, err)
	}
	if in.rules != nil {
		errs = append(errs, checkPolicy(in))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, _, err = loadIdentity(ctx, cfg, nil, nil)
	return errors.Join(append(errs, err)...)
}

// checkPolicy tries whether this agent can serve the policy's resources.
func checkPolicy(in inputs) error {
	speaks, err := protocols("")
	if err != nil {
		return err
	}
	_, err = agent.New(agent.Parts{Policy: in.rules, Servers: in.servers, Trust: in.trust, HostTrust: in.hosts, Protocols: speaks, Log: zap.NewNop()})
	return err
}
