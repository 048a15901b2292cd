package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// doctorCommand probes by loading, never by comparing version numbers.
func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "doctor", Short: "Say what this kernel has and what is degraded", Args: cobra.NoArgs}
	cgroup := cmd.Flags().String("cgroup", "", "where the root of cgroup v2 is mounted; empty: find it")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		features := redirect.Probe(*cgroup)
		if *asJSON {
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(features); err != nil {
				return err
			}
		}
		degraded := false
		for _, f := range features {
			degraded = degraded || f.Required && !f.OK
			if *asJSON {
				continue
			}
			word := "ok"
			if !f.OK {
				word = "MISSING  " + f.Why
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%-32s %s\n", f.Name, word)
		}
		if degraded {
			return errDegraded
		}
		return nil
	}
	return cmd
}
