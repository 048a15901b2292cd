package main

import (
	"fmt"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/git"
	"github.com/sluicegate/sluice/pkg/protocol/kubernetes"
	"github.com/sluicegate/sluice/pkg/protocol/mysql"
	"github.com/sluicegate/sluice/pkg/protocol/postgres"
	"github.com/sluicegate/sluice/pkg/protocol/ssh"
	"github.com/sluicegate/sluice/pkg/protocol/web"
)

// protocols returns the wire protocols that this agent speaks, by the name
// that policies use. Packs of git pushes wait in the given directory.
func protocols(packs string) (map[string]protocol.Protocol, error) {
	pg, err := postgres.New(postgres.Options{})
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	my, err := mysql.New(mysql.Options{})
	if err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	hosts, err := ssh.New(ssh.Options{PackDir: packs})
	if err != nil {
		return nil, fmt.Errorf("ssh: %w", err)
	}
	clusters, err := kubernetes.New(kubernetes.Options{})
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	repositories := git.New(git.Options{PackDir: packs})
	apis := web.New(web.Options{})
	return map[string]protocol.Protocol{
		pg.Info().Name:           pg,
		my.Info().Name:           my,
		hosts.Info().Name:        hosts,
		clusters.Info().Name:     clusters,
		repositories.Info().Name: repositories,
		apis.Info().Name:         apis,
	}, nil
}
