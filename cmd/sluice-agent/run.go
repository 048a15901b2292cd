package main

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/telemetry"
)

// run is the privileged half: it holds the kernel's part and keeps a proxy
// running, until ctx ends.
func run(ctx context.Context, file string, cfg config.Agent) (err error) {
	log, err := telemetry.NewLogger(telemetry.JSON, "info", "stderr")
	if err != nil {
		return err
	}
	rules, err := loadPolicy(cfg)
	if err != nil {
		return err
	}
	kernel, err := redirect.Open(redirect.Config{
		Pins: string(cfg.Redirect.Pins), Cgroup: string(cfg.Redirect.Cgroup), Port: cfg.Redirect.Port,
		Exempt: cfg.Redirect.Exempt, DestroyOpen: cfg.Redirect.OpenConnections == "destroy",
	}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kernel.Close()) }()
	sources := attribution.Local(attribution.Config{
		CgroupRoot: kernel.CgroupRoot(), DockerSocket: string(cfg.Attribution.DockerSocket),
	})
	halves, err := broker.New(broker.Parts{
		Redirect: kernel,
		Sources:  sources,
		Files:    broker.Files{Secrets: rules.SecretFiles(), Tokens: tokenFiles(cfg)},
		Command:  func() *exec.Cmd { return proxyProcess(file) },
		Ready:    notifyReady,
		Log:      log,
	})
	if err != nil {
		return err
	}
	keeper := destination.New(destination.Config{
		Resources: rules.Resources(), Containers: attribution.New(sources, log).Containers, Log: log,
		Apply: func(table destination.Table) error {
			return errors.Join(halves.Publish(table), kernel.Protect(table.Destinations()))
		},
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := keeper.Start(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return kernel.Run(ctx) })
	group.Go(func() error { return keeper.Run(ctx) })
	err = halves.Run(ctx) // on the main thread, as it asks for
	cancel()
	return errors.Join(err, group.Wait())
}

// proxyProcess is this very program in its other half, also when its file has
// been replaced meanwhile.
func proxyProcess(file string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", proxyName, "--config", file)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = os.Stderr
	return cmd
}

func tokenFiles(cfg config.Agent) []string {
	var all []string
	for _, issuer := range cfg.Identity.Issuers {
		all = append(all, string(issuer.TokenFile))
	}
	return all
}
