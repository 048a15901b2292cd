package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

func newSearch(e *env) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   `search WORD... | '"a phrase"' | 'prefix*'`,
		Short: "Find records that hold all words: statements, answers, relations, who",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			return e.search(cmd, strings.Join(words, " "), limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "at most this many")
	return cmd
}

func (e *env) search(cmd *cobra.Command, words string, limit int) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	var found struct {
		Hits []view.Hit `json:"hits"`
		Lag  int64      `json:"lag"`
	}
	query := url.Values{"q": {words}, "limit": {strconv.Itoa(limit)}}
	if err := c.get(cmd.Context(), "/v1/search", query, &found); err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(found)
	}
	rows := make([][]string, len(found.Hits))
	for i, h := range found.Hits {
		operation := "-"
		if h.Operation > 0 {
			operation = fmt.Sprintf("#%d", h.Operation)
		}
		rows[i] = []string{h.Session, operation, clock(h.Time), h.Resource, h.Type, h.Excerpt}
	}
	if err := e.table([]string{"SESSION", "OP", "TIME", "RESOURCE", "RECORD", "TEXT"}, rows); err != nil {
		return err
	}
	if found.Lag > 0 {
		e.printf("The index is %s behind: there may be more.\n", plural(uint64(found.Lag), "batch"))
	}
	return nil
}

func newAgents(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "agents",
		Short: "List the node agents and how their chains of evidence stand",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			var agents []view.Chain
			if err := c.get(cmd.Context(), "/v1/agents", nil, &agents); err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(agents)
			}
			rows := make([][]string, len(agents))
			for i, a := range agents {
				seen := "never"
				if a.LastSeen != nil {
					seen = clock(*a.LastSeen)
				}
				rows[i] = []string{a.Agent, chainState(&a), seen, fmt.Sprint(a.Records), fmt.Sprint(a.Drops), fmt.Sprint(a.Findings)}
			}
			return e.table([]string{"AGENT", "CHAIN", "LAST SEEN", "RECORDS", "LOST", "FINDINGS"}, rows)
		},
	}
}

func chainState(a *view.Chain) string {
	switch {
	case a.Epoch == "":
		return "enrolled"
	case a.Key == "":
		return "no longer enrolled"
	case a.Sealed:
		return "sealed"
	case a.TailOpen:
		return "silent"
	}
	return "live"
}

func newFindings(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "findings",
		Short: "List what the collector found about the evidence as it came in",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			var findings []view.Finding
			if err := c.get(cmd.Context(), "/v1/findings", nil, &findings); err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(findings)
			}
			rows := make([][]string, len(findings))
			for i, f := range findings {
				rows[i] = []string{clock(f.At), f.Agent, f.Code, fmt.Sprint(f.Seq), f.Detail}
			}
			return e.table([]string{"TIME", "AGENT", "FINDING", "BATCH", "DETAIL"}, rows)
		},
	}
}
