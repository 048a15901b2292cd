package main

import (
	"context"
	"errors"

	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/identity"
)

// loadIdentity makes what verifies workloads, and asks nobody yet.
func loadIdentity(ctx context.Context, cfg config.Agent, open identity.Opener, dial identity.Dialer) (*identity.Workloads, *identity.Borrower, error) {
	workloads, err := identity.NewWorkloads(ctx, issuers(cfg), open, dial)
	borrower, borrowErr := identity.NewBorrower(ctx, providers(cfg), dial)
	return workloads, borrower, errors.Join(err, borrowErr)
}

func issuers(cfg config.Agent) []identity.Issuer {
	var all []identity.Issuer
	for _, issuer := range cfg.Identity.Issuers {
		all = append(all, identity.Issuer{
			URL: issuer.Issuer, CAFile: string(issuer.CAFile), Audience: issuer.Audience, TokenFile: string(issuer.TokenFile),
			Bind: bindings(issuer.Bind),
		})
	}
	return all
}

func providers(cfg config.Agent) []identity.Provider {
	var all []identity.Provider
	for _, p := range cfg.Identity.Providers {
		all = append(all, identity.Provider{
			Kind: p.Kind, Issuer: p.Issuer, CAFile: string(p.CAFile), Audience: p.Audience, Hosts: p.Hosts, Variable: p.Variable,
			Bind: bindings(p.Bind),
		})
	}
	return all
}

func bindings(configured []config.Binding) []identity.Binding {
	var all []identity.Binding
	for _, bind := range configured {
		all = append(all, identity.Binding{Claim: bind.Claim, To: bind.To})
	}
	return all
}
