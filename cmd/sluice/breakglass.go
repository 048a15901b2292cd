package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/approval"
)

func newBreakGlass(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "break-glass", Short: "Make a token that lets one rule's holds go on while the collector is away"}
	cmd.AddCommand(newBreakGlassNew(e), newBreakGlassSign(e))
	return cmd
}

func newBreakGlassNew(e *env) *cobra.Command {
	b := approval.BreakGlass{ID: approval.NewID()}
	var lasts time.Duration
	var to string
	cmd := &cobra.Command{
		Use:   "new --rule NAME --by ADA,BOB --reason TEXT -o FILE",
		Short: "Write a token, which both people then sign",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if to == "" {
				return errors.New("give -o")
			}
			b.From = time.Now()
			b.Until = b.From.Add(lasts)
			token, err := approval.NewBreakGlass(b)
			if err != nil {
				return err
			}
			return e.writeToken(to, token)
		},
	}
	cmd.Flags().StringVar(&b.Rule, "rule", "", "the rule whose holds go on")
	cmd.Flags().StringSliceVar(&b.People, "by", nil, "the two who sign, as the roster names them")
	cmd.Flags().StringVar(&b.Reason, "reason", "", "why, for every record")
	cmd.Flags().StringVar(&b.Cluster, "cluster", "main", "the cluster of the agents")
	cmd.Flags().DurationVar(&lasts, "for", 8*time.Hour, "how long from now, at most 72h")
	cmd.Flags().StringVarP(&to, "out", "o", "", "file to write")
	return cmd
}

func newBreakGlassSign(e *env) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Add your signature to a token",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			token, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			own, err := e.loadKey(key)
			if err != nil {
				return err
			}
			if token, err = approval.SignBreakGlass(token, own); err != nil {
				return err
			}
			return e.writeToken(args[0], token)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "file with your private key")
	return cmd
}

func (e *env) writeToken(path string, token []byte) error {
	if err := os.WriteFile(path, token, 0o644); err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	e.printf("%s is written\n", path)
	return nil
}
