// Command sluice-agent runs on a runner node. It gives what jobs do to
// protected servers an owner, a record, a mask and, where policy wants one, a
// person's yes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/redirect"
)

// redirect asks for this: a thread that cannot leave a foreign network
// namespace has to die, and it must not be the main thread.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-agent:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "sluice-agent",
		Short:         "Guards what CI jobs on this node do to protected servers",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(runCommand(), proxyCommand(), succeedCommand(), checkCommand(), doctorCommand(), authorityCommand(), uninstallCommand())
	return cmd
}

// configured is a command that needs the agent's configuration file.
func configured(use, short string, do func(ctx context.Context, file string, cfg config.Agent) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	file := cmd.Flags().String("config", "/etc/sluice/agent.yaml", "the agent's configuration file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load[config.Agent](*file)
		if err != nil {
			return err
		}
		return do(cmd.Context(), *file, cfg)
	}
	return cmd
}

func runCommand() *cobra.Command {
	return configured("run", "Guard this node until told to stop", run)
}

// proxyCommand is the other half of run, which starts it.
func proxyCommand() *cobra.Command {
	cmd := configured(proxyName, "Serve connections for the run that started this", func(ctx context.Context, _ string, cfg config.Agent) error {
		return proxy(ctx, cfg)
	})
	cmd.Hidden = true
	return cmd
}

// succeedCommand is run of an agent that a run starts to take over from it.
func succeedCommand() *cobra.Command {
	cmd := configured(successorName, "Take over from the run that started this", succeed)
	cmd.Hidden = true
	return cmd
}

func checkCommand() *cobra.Command {
	return configured("check", "Check the configuration and every file that it names; start nothing", func(_ context.Context, _ string, cfg config.Agent) error {
		return check(cfg)
	})
}

func uninstallCommand() *cobra.Command {
	return configured("uninstall", "Remove every program, link, map, pin and filter: protected servers are then unguarded", func(_ context.Context, _ string, cfg config.Agent) error {
		return redirect.Uninstall(string(cfg.Redirect.Pins))
	})
}
