package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/redirect"
)

// errDegraded makes doctor's exit status say what its report says.
var errDegraded = errors.New("this kernel lacks something that the agent needs")

// engineWait is how long a container runtime may take to answer: where a service
// manager holds its socket, it starts when it is asked.
const engineWait = 5 * time.Second

// doctorCommand probes by loading, never by comparing version numbers.
func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "doctor", Short: "Say what this kernel has and what is missing, and which container runtimes answer", Args: cobra.NoArgs}
	cgroup := cmd.Flags().String("cgroup", "", "where the root of cgroup v2 is mounted; empty: find it")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		features := append(redirect.Probe(*cgroup), engines(cmd.Context())...)
		show := showFeatures
		if *asJSON {
			show = func(w io.Writer, all []redirect.Feature) error { return json.NewEncoder(w).Encode(all) }
		}
		if err := show(cmd.OutOrStdout(), features); err != nil {
			return err
		}
		for _, f := range features {
			if f.Required && !f.OK {
				return errDegraded
			}
		}
		return nil
	}
	return cmd
}

// engines are those container runtimes that listen where they usually do, and whether
// they can be asked.
func engines(ctx context.Context) (found []redirect.Feature) {
	for _, engine := range []attribution.Engine{attribution.Docker, attribution.Podman} {
		socket := engine.Usual()
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, engineWait)
		err := engine.Reach(asking, socket)
		cancel()
		feature := redirect.Feature{Name: fmt.Sprintf("%s: %s", engine, socket), OK: err == nil}
		if err != nil {
			feature.Why = err.Error()
		}
		found = append(found, feature)
	}
	return found
}

func showFeatures(w io.Writer, features []redirect.Feature) error {
	for _, f := range features {
		word := "ok"
		if !f.OK {
			word = "MISSING  " + f.Why
		}
		if _, err := fmt.Fprintf(w, "%-32s %s\n", f.Name, word); err != nil {
			return err
		}
	}
	return nil
}
