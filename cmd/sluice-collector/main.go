// Command sluice-collector keeps, searches and proves what agents record, and
// carries approvals to people. It wires flags and signals to pkg/collector.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/shelltext"
	"github.com/sluicegate/sluice/pkg/sqltext"
	"github.com/sluicegate/sluice/pkg/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot(os.Stdout).ExecuteContext(ctx)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "sluice-collector:", err)
		os.Exit(1)
	}
}

func newRoot(out io.Writer) *cobra.Command {
	var file string
	load := func() (collector.Config, error) { return config.Load[collector.Config](file) }
	root := &cobra.Command{
		Use:           "sluice-collector",
		Short:         "Keep, search and prove what agents record",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&file, "config", "/etc/sluice/collector.yaml", "configuration file")
	root.AddCommand(newRun(load), newInit(load, out), newEnrol(load, out), newRotate(load, out), newRevoke(load, out), newReindex(load), newNATSUsers(load, out))
	return root
}

// loader reads the configuration file that the flags name.
type loader func() (collector.Config, error)

func newRun(load loader) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run until SIGTERM or SIGINT",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(telemetry.JSON, cfg.LogLevel, "stderr")
			if err != nil {
				return err
			}
			return run(cmd.Context(), cfg, log)
		},
	}
}

// heapGrowth is how much of the heap may be garbage, in per cent of what lives:
// that is little, and nearly all that is allocated is a batch on its way.
const heapGrowth = 400

func run(ctx context.Context, cfg collector.Config, log *zap.Logger) (err error) {
	debug.SetGCPercent(heapGrowth)
	c, err := collector.Open(context.WithoutCancel(ctx), cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	c.ReadSQL = map[string]func([]byte) ([]operation.SQLStatement, bool){"postgres": sqltext.New().Again, "mysql": mysqltext.New().Again}
	c.ReadCommands = shelltext.Read
	return c.Run(ctx)
}

func newReindex(load loader) *cobra.Command {
	return &cobra.Command{
		Use:   "reindex",
		Short: "Make sessions and search anew from the evidence, while no collector runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			return collector.Reindex(cmd.Context(), cfg)
		},
	}
}

func newNATSUsers(load loader, out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "nats-users",
		Short: "Print the users, with their permissions, that a NATS server of one's own needs",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			users, err := collector.NATSUsers(cfg)
			if err != nil {
				return err
			}
			_, err = io.WriteString(out, users)
			return err
		},
	}
}

func newInit(load loader, out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Prepare the data directory: log key, trust file, bootstrap token",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			made, err := collector.Init(cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, `log key          %s
trust file       %s
console key      %s
bootstrap token  %s

Keep the token: it is shown only once. It sees everything and cannot vote.
Pin the log key in each agent, and the trust file wherever sluice verify runs.
A roster that names the console key lets its approvers vote in the console.
`, made.LogKey, made.TrustFile, made.ConsoleKey, made.BootstrapToken)
			return err
		},
	}
}

func newEnrol(load loader, out io.Writer) *cobra.Command {
	var agent, dir string
	cmd := &cobra.Command{
		Use:   "enrol --name NAME --out DIR",
		Short: "Make an agent's keys and register it; a running collector takes it up",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			if err := collector.Enrol(cfg, agent, dir); err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "%s is enrolled. Its private keys are in %s and nowhere else: take them to the agent.\n", agent, dir)
			return err
		},
	}
	cmd.Flags().StringVar(&agent, "name", "", "name of the agent: up to 64 letters, digits, - and _")
	cmd.Flags().StringVar(&dir, "out", "", "directory for the agent's private keys")
	cmd.MarkFlagsRequiredTogether("name", "out")
	cmd.MarkFlagsOneRequired("name")
	return cmd
}
