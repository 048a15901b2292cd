package simulate_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/simulate"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
)

const fewRows = `version: 1
resources:
  - {name: shop-db, protocol: postgres, hosts: [192.0.2.1], port: 5432, credentials: [{user: app, password_file: p}]}
rules:
  - {name: few-rows, when: 'op.sql.statements.exists(s, s.class == "write")', effect: deny, over_rows: 5}
default: allow
`

// what is what the agent records.
func what(t *testing.T, headers ...record.Header) (records []view.Record) {
	t.Helper()
	for i := range headers {
		headers[i].No, headers[i].Session, headers[i].Time = uint64(i), "s1", time.Unix(1, 0)
		header, err := record.AppendHeader(nil, &headers[i])
		if err != nil {
			t.Fatal(err)
		}
		body, err := record.AppendBody(nil, &record.Body{})
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, view.Record{No: uint64(i), Header: header, Body: body})
	}
	return records
}

func TestRowsThatWereChangedCount(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(fewRows))
	if err != nil {
		t.Fatal(err)
	}
	read := func([]byte) ([]operation.SQLStatement, bool) {
		return []operation.SQLStatement{{Kind: "DELETE", Class: operation.Write}}, true
	}
	for tag, want := range map[string]string{"DELETE 5": "allow", "DELETE 6": "deny", "INSERT 0 6": "deny", "SELECT 6": "allow"} {
		records := what(t,
			record.Header{Type: record.SessionOpened, Opened: &session.Session{ID: "s1", Resource: "shop-db"}},
			record.Header{Type: record.OperationIntent, Operation: 1, Intent: &record.Intent{Kind: "statement", Parsed: true, Effect: "allow"}},
			record.Header{Type: record.OperationOutcome, Operation: 1, Outcome: &record.Outcome{Status: "ok", Tag: tag}})
		asked := 0
		err := simulate.Reader{Read: read}.Each(records, func(was simulate.Past) {
			asked++
			if found, differs := simulate.By(p, was); found.Effect != want || differs != (want == "deny") {
				t.Errorf("%s: got %+v, %v", tag, found, differs)
			}
		})
		if err != nil || asked != 1 {
			t.Errorf("%s: %d operations, %v", tag, asked, err)
		}
	}
}
