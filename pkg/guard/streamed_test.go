package guard_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// TestNobodyIsAskedAboutABodyThatStreams because what a person would allow has
// not come yet. It is denied for its size, as is one that a rule has to read.
func TestNobodyIsAskedAboutABodyThatStreams(t *testing.T) {
	for when, reason := range map[string]string{
		`op.http.path == "/file"`:       "too large to be held",
		`op.http.body.contains("prod")`: "the body, which is too large",
	} {
		b := newBench(t, verified())
		b.under(t, `op.sql.statements.exists(s, s.class == "ddl")`, when)
		decision, err := b.decide(t, t.Context(), &operation.Operation{
			Kind: operation.Request, Parsed: true, HTTP: &operation.HTTP{Method: "PUT", Path: "/file", Streamed: true},
		})
		must(t, err)
		if decision.Effect != protocol.Deny || !decision.TooLarge || decision.Rule != "ask-for-ddl" || !strings.Contains(decision.Reason, reason) {
			t.Errorf("%s: %+v", when, decision)
		}
	}
}
