package main

import (
	"encoding/json"
	"errors"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

func newShred(e *env) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "shred SESSION --reason TEXT",
		Short: "Destroy what a session asked and got, for good; who, when and that it was remain, and verify",
		Long: `Destroy the bodies of a session's records in the collector: statements, values
and answers. Their headers stay, and the log says who destroyed them and why, so
that the rest still verifies. Backups and exports that were made before hold
them still.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("give --reason: it stays in the log")
			}
			asked, err := json.Marshal(map[string]string{"reason": reason})
			if err != nil {
				return err
			}
			c, err := e.client()
			if err != nil {
				return err
			}
			var done view.Shredded
			if err := c.post(cmd.Context(), "/v1/sessions/"+url.PathEscape(args[0])+"/shred", asked, &done); err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(&done)
			}
			e.printf("the bodies of %s of session %s are destroyed\n", plural(uint64(done.Bodies), "record"), done.Session)
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, one line; it stays in the log")
	return cmd
}
