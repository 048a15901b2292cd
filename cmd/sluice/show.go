package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/workload"
)

// told is a session with its operations, as show --json prints it.
type told struct {
	Session    view.Session      `json:"session"`
	Operations []*view.Operation `json:"operations"`
}

func newShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "show SESSION",
		Short: "Show who opened a session and everything that was asked in it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := e.told(cmd, args[0])
			if err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(t)
			}
			e.showSession(&t.Session)
			for _, op := range t.Operations {
				e.showOperation(op)
			}
			return nil
		},
	}
}

// told fetches a session and folds its records.
func (e *env) told(cmd *cobra.Command, id string) (told, error) {
	c, err := e.client()
	if err != nil {
		return told{}, err
	}
	var t told
	if err := c.get(cmd.Context(), "/v1/sessions/"+url.PathEscape(id), nil, &t.Session); err != nil {
		return told{}, err
	}
	records, err := c.records(cmd.Context(), id)
	if err != nil {
		return told{}, err
	}
	t.Operations, err = view.Fold(records)
	return t, err
}

func (e *env) showSession(s *view.Session) {
	ended := "still open"
	if s.Ended != nil {
		ended = fmt.Sprintf("closed %s (%s)", instant(*s.Ended), s.Reason)
	}
	e.printf("session   %s\n", s.ID)
	e.printf("resource  %s, %s at %s\n", s.Resource, s.Protocol, s.Destination)
	if s.Parent != "" {
		e.printf("inside    session %s, its operation #%d\n", s.Parent, s.ParentOperation)
	}
	e.printf("time      opened %s, %s\n", instant(s.Started), ended)
	e.printf("assurance %s\n", s.Assurance)
	e.printf("kernel    %s\n", facts(s.Kernel))
	e.printf("lineage   %s\n", lineage(s.Kernel))
	e.printf("orch      %s\n", facts(s.Orch))
	e.printf("verified  %s\n", facts(s.Verified))
	e.printf("claimed   %s\n", facts(s.Claimed))
	e.printf("agent     %s\n", facts(s.Agent))
	e.printf("recorded  by %s, epoch %s\n", s.ReportedBy, s.Epoch)
	e.printf("counts    %s, %d denied, %d held, %s masked\n",
		plural(s.Operations, "operation"), s.Denied, s.Held, plural(s.Masked, "value"))
}

// lineage is what the process and its ancestors executed, in a line of its own.
func lineage(kernel json.RawMessage) string {
	var facts workload.KernelFacts
	if err := json.Unmarshal(kernel, &facts); err != nil {
		return "?"
	}
	return facts.Chain()
}

func (e *env) showOperation(op *view.Operation) {
	e.printf("\n#%d  %s  %s\n", op.ID, instant(op.At), decided(op))
	if op.Text != "" {
		e.printf("    %s\n", lines(op.Text))
	} else {
		e.printf("    (%s)\n", op.Kind)
	}
	if asked := op.Asked(); asked != "" {
		e.printf("    %s\n", asked)
	}
	for i, p := range op.Params {
		e.printf("    $%d = %s\n", i+1, param(&p))
	}
	for _, s := range op.Statements {
		e.printf("    %s [%s] %s\n", s.Kind, s.Class, strings.Join(s.Relations, ", "))
	}
	for _, step := range op.Approvals {
		e.printf("    approval %s\n", stepLine(&step))
	}
	e.printf("    → %s\n", ended(op))
}

// decided says what was decided about an operation and by which rule.
func decided(op *view.Operation) string {
	if op.Effect == "" {
		return "no decision was recorded"
	}
	out := op.Effect
	if op.Kind == string(operation.Unread) {
		return notRead + ": " + op.Reason
	}
	if op.Observed {
		out = "only observed, would be " + op.Effect
	}
	if op.Rule != "" {
		out += " by " + op.Rule
	}
	if op.Reason != "" {
		out += ": " + op.Reason
	}
	return out
}

// stepLine says what became of an approval.
func stepLine(s *view.ApprovalStep) string {
	out := s.State + " " + instant(s.At)
	if s.Number > 0 {
		out = fmt.Sprintf("%d %s", s.Number, out)
	}
	if s.Approver != "" {
		out += " by " + s.Approver
	}
	if s.Reason != "" {
		out += ": " + s.Reason
	}
	return out
}

// ended says how an operation ended.
func ended(op *view.Operation) string {
	if op.Status == "" {
		return "no outcome was recorded: the agent or a leg died first"
	}
	words := []string{op.Status}
	for _, word := range []string{op.Code, op.Tag} {
		if word != "" {
			words = append(words, word)
		}
	}
	out := strings.Join(words, " ")
	if op.RefusedBy != "" {
		out += ", refused by " + op.RefusedBy
	}
	out += ", " + plural(uint64(max(0, op.Rows)), "row")
	if op.Masked > 0 {
		out += ", " + plural(uint64(op.Masked), "value") + " masked"
	}
	return fmt.Sprintf("%s, %v", out, op.Duration.Round(1e4))
}
