// Command sluice is for the people behind Sluice: responders who search,
// replay and prove what jobs did, approvers who decide, and operators who
// check policies and rosters. It asks the collector's API, and it believes the
// collector only where it has to: an approval request is verified with the
// agent's pinned key before it is shown, and an export with pinned keys alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// Exit statuses. Findings and refusals are 1; what could not even be tried is 2.
const (
	exitFindings = 1
	exitCannot   = 2
)

// exit is an error that has been shown already.
type exit struct{ status int }

func (e exit) Error() string { return fmt.Sprintf("exit status %d", e.status) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root := newRoot(&env{in: in, out: out})
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	var shown exit
	if errors.As(err, &shown) {
		return shown.status
	}
	if err != nil {
		_, _ = fmt.Fprintln(errs, "sluice:", view.Printable(err.Error()))
		return exitCannot
	}
	return 0
}

// env is what every command works with.
type env struct {
	in       io.Reader
	out      io.Writer
	settings settings // from the configuration file
	flags    flags
}

// flags are those that every command takes.
type flags struct {
	config    string
	collector string
	tokenFile string
	caFile    string
	trust     string
	json      bool
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:           "sluice",
		Short:         "Search, replay, prove and approve what CI jobs do",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			e.settings, err = loadSettings(e.flags)
			return err
		},
	}
	set := root.PersistentFlags()
	set.StringVar(&e.flags.config, "config", "", "configuration file (default ~/.config/sluice/config.yaml)")
	set.StringVar(&e.flags.collector, "collector", "", "URL of the collector")
	set.StringVar(&e.flags.tokenFile, "token-file", "", "file that holds your token")
	set.StringVar(&e.flags.caFile, "ca-file", "", "certificates that the collector's is checked against")
	set.StringVar(&e.flags.trust, "trust", "", "trust file: the pinned keys of the log and the agents")
	set.BoolVar(&e.flags.json, "json", false, "print JSON")
	root.AddCommand(
		newLogin(e), newSessions(e), newShow(e), newReplay(e), newSearch(e), newAgents(e), newFindings(e),
		newApprovals(e), newKill(e), newQuarantine(e), newBreakGlass(e), newExport(e), newVerify(e), newShred(e), newPolicy(e), newRoster(e), newDoctor(e),
	)
	return root
}
