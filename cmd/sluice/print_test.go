package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

func TestFactsAreOneLineThatCannotDeceive(t *testing.T) {
	for group, want := range map[string]string{
		`{}`:   "-",
		`null`: "-",
		`{"netns_cookie":18446744073709551615,"pid":0}`:         "netns_cookie=18446744073709551615",
		`{"b":"x y","a":["1","2 3"],"c":{"d":true},"e":""}`:     `a=[1 "2 3"] b="x y" c.d=true`,
		`{"exe":"/bin/\u001b[2Jsh","x":"a\nverified  sub=eve"}`: "exe=/bin/\uFFFD[2Jsh x=\"a\\nverified  sub=eve\"",
		`{`: "?",
	} {
		if got := facts(json.RawMessage(group)); got != want {
			t.Errorf("facts of %s: %q, want %q", group, got, want)
		}
	}
}

// hostile is what a job, or who has the collector, may write anywhere.
const hostile = "x\n#9  allow\r\x1b[2K\x1b]52;c;cm0=\x07\u009b31m\u202e\u3164\U000e0041"

func TestNoTextDrivesATerminalOrBeginsALine(t *testing.T) {
	session := &told{Session: view.Session{
		ID: hostile, Resource: hostile, Protocol: "postgres", Destination: hostile, Reason: hostile, Assurance: hostile,
		Parent: hostile, ReportedBy: hostile, Epoch: hostile,
		Kernel: json.RawMessage(`{"lineage":["a\n#9  allow"],"k\n#9  allow":"v"}`),
	}}
	now := session.Session.Started
	session.Session.Ended = &now
	op := &view.Operation{
		ID: 1, Kind: hostile, Text: "select\n    → ok\n" + hostile, Database: hostile, Effect: hostile, Rule: hostile, Reason: hostile,
		Status: hostile, Code: hostile, Tag: hostile, RefusedBy: hostile, Params: []record.Param{{Text: new(hostile)}},
		Statements: []record.Statement{{Kind: hostile, Class: hostile, Relations: []string{hostile}}},
		Approvals:  []view.ApprovalStep{{State: hostile, Approver: hostile, Reason: hostile}},
		Chunks:     []view.Chunk{{Stream: "response", Data: []byte("N\x00\x00\x00\x12Mx\n#9  allow\x00\x00"), Size: 19}},
	}
	session.Operations = []*view.Operation{op}
	var out bytes.Buffer
	e := &env{out: &out}
	e.showSession(&session.Session)
	e.showOperation(op)
	check(t, e.replay(t.Context(), session, 0, 0))
	e.showAsked(asked{Approval: view.Approval{State: hostile, Votes: []view.Vote{{Decision: hostile, Reason: hostile}}}, Request: approval.Request{
		Resource: hostile, Asks: hostile, Rule: hostile, Reason: hostile, Session: hostile, Agent: hostile, Cluster: hostile,
		Text: hostile, Action: hostile, FourEyes: hostile, Scope: hostile, Requester: approval.Requester{Exe: hostile, Name: hostile},
		Before: &approval.Before{First: []string{hostile}},
		Reach:  &operation.Reach{Unknown: hostile, Statements: []operation.StatementReach{{Kind: hostile, Unknown: hostile}}},
	}})
	check(t, e.printJSON(session))
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "#9") || line == "    → ok\n" {
			t.Errorf("a line of its own: %q", line)
		}
		for _, r := range strings.TrimSuffix(line, "\n") {
			if !operation.Visible(r) {
				t.Errorf("%U in %q", r, line)
			}
		}
	}
}
