package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/simulate"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
)

func newSimulate(e *env) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "simulate FILE",
		Short: "Ask a policy about recorded operations: what it would decide otherwise, by rule and job",
		Long: "Each recorded operation is made again from its record and decided by FILE. What masks would hide is not\n" +
			"simulated.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			parsed, err := e.readPolicy(args[0])
			if err != nil {
				return err
			}
			return e.tallied(cmd.Context(), since, "now", func(p simulate.Past) (simulate.Change, bool) { return simulate.By(parsed, p) })
		},
	}
	cmd.Flags().StringVar(&since, "since", "24h", "sessions that started since a time (RFC 3339) or duration ago (1h30m)")
	return cmd
}

func newObserveReport(e *env) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "observe-report",
		Short: "Add up what would have been denied or held where a resource is only observed, and what was not read there",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.tallied(cmd.Context(), since, "would be", observedOnly)
		},
	}
	cmd.Flags().StringVar(&since, "since", "24h", "sessions that started since a time (RFC 3339) or duration ago (1h30m)")
	return cmd
}

// observedOnly says what would not have been allowed, was not understood, or was
// not read at all, where nothing was enforced.
func observedOnly(was simulate.Past) (simulate.Change, bool) {
	in := was.Intent
	return simulate.Change{
		Resource: was.Session.Resource, Was: "allow", Effect: in.Effect, Rule: in.Rule, Parsed: in.Parsed, Unread: was.Operation.Unread,
		Job: simulate.Job(was),
	}, in.Observed && (in.Effect != policy.Allow.String() || !in.Parsed)
}

// tallied prints the changes that pick finds in the history.
func (e *env) tallied(ctx context.Context, since, verb string, pick func(simulate.Past) (simulate.Change, bool)) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	var tally simulate.Tally
	h := newHistory(c)
	err = h.since(ctx, since, func(p simulate.Past) {
		found, counts := pick(p)
		tally.Add(p, found, counts)
	})
	if err != nil {
		return err
	}
	rows := tally.Rows()
	if e.flags.json {
		return e.printJSON(map[string]any{"operations": tally.Operations, "unread": tally.Unread, "changes": rows})
	}
	if err := e.printTally(rows, verb); err != nil {
		return err
	}
	e.printf("%s asked about", plural(uint64(tally.Operations), "operation"))
	if tally.Unread > 0 {
		e.printf(", and %s of which nobody read all", plural(uint64(tally.Unread), "session"))
	}
	e.printf("\n")
	return nil
}

func (e *env) printTally(rows []*simulate.Counted, verb string) error {
	lines := make([][]string, len(rows))
	for i, r := range rows {
		effect := verb + " " + r.Effect
		switch {
		case r.Unread != "":
			effect = notRead + ": " + r.Unread
		case !r.Parsed:
			effect += " (not understood)"
		}
		lines[i] = []string{strconv.Itoa(r.Count), r.Resource, r.Was, effect, r.Rule, r.Job, fmt.Sprintf("%s #%d", r.Session, r.Operation)}
	}
	return e.table([]string{"COUNT", "RESOURCE", "WAS", "EFFECT", "RULE", "JOB", "EXAMPLE"}, lines)
}

func newExplain(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "explain FILE SESSION [OPERATION]",
		Short: "Say which rule of a policy decides a recorded operation, and what the others say",
		Args:  cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			parsed, err := e.readPolicy(args[0])
			if err != nil {
				return err
			}
			return e.explain(cmd.Context(), parsed, args[1], args[2:])
		},
	}
}

// explained is what a policy says of one operation.
type explained struct {
	Operation uint64         `json:"operation"`
	Text      string         `json:"text"`
	Effect    string         `json:"effect"`
	Rule      string         `json:"rule,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Asked     []policy.Asked `json:"asked"`
}

// said is it in a line.
func (x *explained) said() string {
	by := " by " + cmp.Or(x.Rule, "the default")
	if x.Effect == notRead {
		by = ""
	}
	return strings.TrimSuffix(fmt.Sprintf("%s%s: %s", x.Effect, by, x.Reason), ": ")
}

// notRead stands in the place of an effect where policy is not asked.
const notRead = "not read"

func (e *env) explain(ctx context.Context, parsed *policy.Policy, id string, only []string) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	all := []explained{}
	h := newHistory(c)
	err = h.session(ctx, id, func(p simulate.Past) {
		if len(only) > 0 && only[0] != strconv.FormatUint(p.Operation.ID, 10) {
			return
		}
		if p.Operation.Kind == operation.Unread {
			all = append(all, explained{Operation: p.Operation.ID, Text: string(p.Operation.Text.Reveal()), Effect: notRead, Reason: p.Operation.Unread, Asked: []policy.Asked{}})
			return
		}
		ruling, asked := parsed.Explain(p.Session, p.Operation)
		all = append(all, explained{p.Operation.ID, string(p.Operation.Text.Reveal()), ruling.Effect.String(), ruling.Rule, ruling.Reason, asked})
	})
	if err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(all)
	}
	for _, x := range all {
		e.printf("#%d  %s\n    %s\n", x.Operation, view.OneLine(x.Text, maxCell), x.said())
		for _, a := range x.Asked {
			mark := " "
			if a.Decides {
				mark = "*"
			}
			e.printf("    %s %-5s %s %s\n", mark, a.Effect, a.Rule, a.Answer)
		}
	}
	return nil
}
