package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// errDegraded makes doctor's exit status say what its report says.
var errDegraded = errors.New("this kernel lacks something that the agent needs")

// doctorCommand probes by loading, never by comparing version numbers.
func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "doctor", Short: "Say what this kernel has and what is missing", Args: cobra.NoArgs}
	cgroup := cmd.Flags().String("cgroup", "", "where the root of cgroup v2 is mounted; empty: find it")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		features := redirect.Probe(*cgroup)
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
