package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/telemetry"
)

// nameWait is how long a start waits for names that do not resolve, before the
// service manager's patience (TimeoutStartSec) ends.
const nameWait = time.Minute

// half is the privileged half: it holds the kernel's part and keeps a proxy
// running.
type half struct {
	file    string // of the configuration
	program string // where this program was started from; an upgrade starts what is there then
	cfg     config.Agent
	log     *zap.Logger
	kernel  *redirect.Redirect
	keeper  *destination.Keeper
	halves  *broker.Broker
}

// run guards this node until ctx ends.
func run(ctx context.Context, file string, cfg config.Agent) (err error) {
	log, err := telemetry.NewLogger(telemetry.JSON, "info", "stderr")
	if err != nil {
		return err
	}
	kernel, err := redirect.Open(kernelConfig(cfg), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kernel.Close()) }()
	h, err := newHalf(file, cfg, kernel, notifyReady, log)
	if err != nil {
		return err
	}
	return h.run(ctx, func(ctx context.Context) error {
		if err := h.keeper.Resolve(ctx, nameWait); err != nil {
			return err
		}
		return h.keeper.Start()
	})
}

func kernelConfig(cfg config.Agent) redirect.Config {
	return redirect.Config{
		Pins: string(cfg.Redirect.Pins), Cgroup: string(cfg.Redirect.Cgroup), Port: cfg.Redirect.Port,
		Exempt: cfg.Redirect.Exempt, DestroyOpen: cfg.Redirect.OpenConnections == "destroy",
	}
}

// newHalf makes the parts above the kernel's. ready is called whenever a proxy
// has begun to serve.
func newHalf(file string, cfg config.Agent, kernel *redirect.Redirect, ready func() error, log *zap.Logger) (*half, error) {
	rules, err := loadPolicy(cfg)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &half{file: file, program: program, cfg: cfg, log: log, kernel: kernel}
	sources := attribution.Local(attribution.Config{
		CgroupRoot: kernel.CgroupRoot(), DockerSocket: string(cfg.Attribution.DockerSocket),
		PodmanSocket: string(cfg.Attribution.PodmanSocket), CRISocket: string(cfg.Attribution.CRISocket),
	})
	h.halves, err = broker.New(broker.Parts{
		Redirect: kernel,
		Sources:  sources,
		Files:    broker.Files{Secrets: rules.SecretFiles(), Tokens: tokenFiles(cfg)},
		Command:  func() *exec.Cmd { return proxyProcess(file) },
		Ready:    ready,
		Log:      log,
	})
	h.keeper = destination.New(destination.Config{
		Resources: rules.Resources(), Containers: attribution.New(sources, log).Containers, Log: log,
		Apply: func(table destination.Table) error {
			return errors.Join(h.halves.Publish(table), kernel.Protect(table.Destinations()))
		},
	})
	return h, err
}

// run takes charge as enter says, and is in charge until ctx ends, something
// fails, or a successor has taken over and the last session has ended.
func (h *half) run(ctx context.Context, enter func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	var group errgroup.Group
	group.Go(func() error {
		defer stop()
		if err := enter(ctx); err != nil {
			return err
		}
		return h.beInCharge(ctx, hangups)
	})
	err := h.halves.Run(ctx) // on the main thread, as it asks for
	stop()
	return errors.Join(err, group.Wait())
}

// beInCharge guards until ctx ends, and lets a successor take over when it is
// asked to.
func (h *half) beInCharge(ctx context.Context, hangups <-chan os.Signal) error {
	guard := h.guard(ctx)
	for {
		select {
		case err := <-guard.ended:
			return err
		case <-hangups:
			next, err := h.upgrade(ctx, guard)
			if err != nil {
				h.log.Error("The upgrade came to nothing: this agent goes on", zap.Error(err))
				continue
			}
			if next != nil {
				h.drain(ctx, next)
				return nil
			}
		}
	}
}

// guard is the kernel's part and the destinations, at work.
type guard struct {
	pause context.CancelCauseFunc
	ended chan error
}

func (h *half) guard(ctx context.Context) *guard {
	ctx, pause := context.WithCancelCause(ctx)
	g := &guard{pause: pause, ended: make(chan error, 1)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return h.kernel.Run(ctx) })
	group.Go(func() error { return h.keeper.Run(ctx) })
	go func() { g.ended <- group.Wait() }()
	return g
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
