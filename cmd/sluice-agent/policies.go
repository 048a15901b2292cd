package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/record"
)

// policyFile, in the spool's directory, keeps the published policy in force.
const policyFile = "published-policy"

// filesTime bounds how long the privileged half may take to open the files that
// a published policy names.
const filesTime = 5 * time.Second

// openPolicies returns the policy in force: the node's file, or what was
// published in its place.
func openPolicies(cfg config.Agent, in inputs, roster func() *approval.Roster, privileged *broker.Client, trail *audit.Log, log *zap.Logger) (*agent.Policies, error) {
	return agent.OpenPolicies(agent.PoliciesConfig{
		Own: in.rules, Name: string(cfg.Policy), Cluster: cfg.Cluster, Agent: cfg.Name, Pin: policyFile, Roster: roster,
		Check:   func(p *policy.Policy) error { return filesExist(privileged, p) },
		Changed: trail.Policy,
		Refused: func(detail string) {
			if err := trail.Alert(record.Alert{Kind: "policy-refused", Count: 1, Detail: detail}); err != nil {
				log.Error("An alert could not be recorded", zap.Error(err))
			}
		},
		Log: log,
	})
}

// filesExist opens every file that some session may need to log in.
func filesExist(privileged *broker.Client, p *policy.Policy) error {
	ctx, cancel := context.WithTimeout(context.Background(), filesTime)
	defer cancel()
	var errs []error
	for _, path := range p.SecretFiles() {
		file, err := privileged.Open(ctx, path)
		if err != nil {
			errs = append(errs, fmt.Errorf("a credential: %w", err))
			continue
		}
		_ = file.Close() // nothing was read
	}
	return errors.Join(errs...)
}
