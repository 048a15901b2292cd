package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

func newSimulate(e *env) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "simulate FILE",
		Short: "Ask a policy about recorded operations: what it would decide otherwise, by rule and job",
		Long: "Each recorded operation is made again from its record and decided by FILE. What masks would hide is not\n" +
			"simulated, and a host's command is known by its programs, without their arguments.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			parsed, err := e.readPolicy(args[0])
			if err != nil {
				return err
			}
			return e.tallied(cmd.Context(), since, "now", func(p past) (change, bool) { return simulated(parsed, p) })
		},
	}
	cmd.Flags().StringVar(&since, "since", "24h", "sessions that started since a time (RFC 3339) or duration ago (1h30m)")
	return cmd
}

func newObserveReport(e *env) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "observe-report",
		Short: "Add up what would have been denied or held where a resource is only observed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.tallied(cmd.Context(), since, "would be", observedOnly)
		},
	}
	cmd.Flags().StringVar(&since, "since", "24h", "sessions that started since a time (RFC 3339) or duration ago (1h30m)")
	return cmd
}

// change is one way in which operations are decided otherwise.
type change struct {
	Resource string `json:"resource"`
	Was      string `json:"was"`
	Effect   string `json:"effect"`
	Rule     string `json:"rule,omitempty"`
	Parsed   bool   `json:"parsed"`
	Job      string `json:"job"`
}

// simulated says what a policy decides otherwise than was decided. A hold that
// was approved was a hold.
func simulated(p *policy.Policy, was past) (change, bool) {
	effect := was.intent.Effect
	if was.intent.Approval > 0 {
		effect = policy.Hold.String()
	}
	ruling := p.Evaluate(was.session, was.op)
	return change{
		was.session.Resource, effect, ruling.Effect.String(), ruling.Rule, was.op.Parsed, job(was),
	}, ruling.Effect.String() != effect
}

// observedOnly says what would not have been allowed, or was not understood,
// where nothing was enforced.
func observedOnly(was past) (change, bool) {
	in := was.intent
	return change{
		was.session.Resource, "allow", in.Effect, in.Rule, in.Parsed, job(was),
	}, in.Observed && (in.Effect != policy.Allow.String() || !in.Parsed)
}

// job names who asked: the run, else the container.
func job(was past) string {
	w := &was.session.Workload
	return cmp.Or(w.Run().ID, w.Orch.Name, w.Kernel.Container, "unknown")
}

// counted is a change and how often it came, with one example.
type counted struct {
	change
	Count     int    `json:"count"`
	Session   string `json:"session"` // the newest
	Operation uint64 `json:"operation"`
}

// tallied prints the changes that pick finds in the history.
func (e *env) tallied(ctx context.Context, since, verb string, pick func(past) (change, bool)) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	tally := map[change]*counted{}
	asked := 0
	h := history{c, sqltext.New()}
	err = h.since(ctx, since, func(p past) {
		asked++
		found, counts := pick(p)
		if !counts {
			return
		}
		if tally[found] == nil {
			tally[found] = &counted{change: found, Session: p.session.ID, Operation: p.op.ID}
		}
		tally[found].Count++
	})
	if err != nil {
		return err
	}
	rows := slices.SortedFunc(maps.Values(tally), func(a, b *counted) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Job, b.Job), cmp.Compare(a.Rule, b.Rule))
	})
	if e.flags.json {
		return e.printJSON(map[string]any{"operations": asked, "changes": rows})
	}
	return e.printTally(rows, asked, verb)
}

func (e *env) printTally(rows []*counted, asked int, verb string) error {
	lines := make([][]string, len(rows))
	for i, r := range rows {
		effect := verb + " " + r.Effect
		if !r.Parsed {
			effect += " (not understood)"
		}
		lines[i] = []string{strconv.Itoa(r.Count), r.Resource, r.Was, effect, r.Rule, r.Job, fmt.Sprintf("%s #%d", r.Session, r.Operation)}
	}
	if err := e.table([]string{"COUNT", "RESOURCE", "WAS", "EFFECT", "RULE", "JOB", "EXAMPLE"}, lines); err != nil {
		return err
	}
	e.printf("%s asked about\n", plural(uint64(asked), "operation"))
	return nil
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

func (e *env) explain(ctx context.Context, parsed *policy.Policy, id string, only []string) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	all := []explained{}
	h := history{c, sqltext.New()}
	err = h.session(ctx, id, func(p past) {
		if len(only) > 0 && only[0] != strconv.FormatUint(p.op.ID, 10) {
			return
		}
		ruling, asked := parsed.Explain(p.session, p.op)
		all = append(all, explained{p.op.ID, string(p.op.Text.Reveal()), ruling.Effect.String(), ruling.Rule, ruling.Reason, asked})
	})
	if err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(all)
	}
	for _, x := range all {
		e.printf("#%d  %s\n    %s\n", x.Operation, view.OneLine(x.Text, maxCell), strings.TrimSuffix(fmt.Sprintf("%s by %s: %s", x.Effect, cmp.Or(x.Rule, "the default"), x.Reason), ": "))
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
