package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector"
)

func newRotate(load loader, out io.Writer) *cobra.Command {
	var agent, dir string
	cmd := &cobra.Command{
		Use:   "rotate --name NAME --out DIR",
		Short: "Make a new signing key for an agent; the former one is good until it is revoked",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			if err := collector.Rotate(cfg, agent, dir); err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "The new signing key of %s is in %s and nowhere else. Take it to the agent and restart it; then revoke the former one.\n", agent, dir)
			return err
		},
	}
	cmd.Flags().StringVar(&agent, "name", "", "name of the agent")
	cmd.Flags().StringVar(&dir, "out", "", "directory for the private key")
	cmd.MarkFlagsRequiredTogether("name", "out")
	cmd.MarkFlagsOneRequired("name")
	return cmd
}

func newRevoke(load loader, out io.Writer) *cobra.Command {
	var agent, key string
	cmd := &cobra.Command{
		Use:   "revoke --name NAME --key KEY",
		Short: "Believe nothing more that an agent's key signs; what it signed before holds",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			from, err := collector.Revoke(cfg, agent, key)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "The key is not believed from leaf %d on. Give the trust file to whoever verifies.\n", from)
			return err
		},
	}
	cmd.Flags().StringVar(&agent, "name", "", "name of the agent")
	cmd.Flags().StringVar(&key, "key", "", "verifier key, as in the trust file")
	cmd.MarkFlagsRequiredTogether("name", "key")
	cmd.MarkFlagsOneRequired("name")
	return cmd
}
