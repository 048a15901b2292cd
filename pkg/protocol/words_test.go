package protocol_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

func TestWordsForTheClient(t *testing.T) {
	for want, got := range map[string]string{
		"sluice: refused by the policy's default": protocol.Decision{}.Refusal(),
		`sluice: refused by rule "r", approval #3, decided by ann: not today`: protocol.Decision{
			Rule: "r", Approval: 3, Decider: "ann", Reason: "not\ntoday",
		}.Refusal(),
		"sluice: approval #3: approved by ann": protocol.Decision{Effect: protocol.Allow, Approval: 3, Decider: "ann\x1b\x07\u009b"}.Release(),
		"sluice: reviewed in file":             protocol.Decision{Effect: protocol.Allow, Decider: "file", Reason: "reviewed in file"}.Release(),
		"":                                     protocol.Decision{Approval: 3, Decider: "ann"}.Release(),
		"sluice: waiting for an approval":      protocol.Waiting{}.String(),
		`sluice: waiting for approval #3 by rule "r", until 2026-01-02T03:04:05Z: why (decide at http://x)`: protocol.Waiting{
			Approval: 3, Rule: "r", Reason: "why", Link: "http://x", Deadline: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		}.String(),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestReminderIsDueAtOnceAndThenNowAndAgain(t *testing.T) {
	var r protocol.Reminder
	for _, step := range []struct {
		elapsed time.Duration
		due     bool
	}{{0, true}, {4 * time.Second, false}, {5 * time.Second, true}, {6 * time.Second, false}, {time.Minute, true}} {
		if got := r.Due(step.elapsed, 5*time.Second); got != step.due {
			t.Errorf("after %v: %v", step.elapsed, got)
		}
	}
}
