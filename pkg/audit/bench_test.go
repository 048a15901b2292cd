package audit_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

func BenchmarkPointQuery(b *testing.B) {
	sp, err := spool.Open(spool.Config{Dir: b.TempDir(), Segment: 16 << 20, Limit: 4 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sp.Close() }()
	k := newKeys(b)
	verifier, err := translog.NewVerifier(k.logPub)
	if err != nil {
		b.Fatal(err)
	}
	l, err := audit.Open(audit.Config{Spool: sp, Signer: k.agent, Collector: verifier, Cluster: cluster, Agent: agent, Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	s, err := l.Session(&session.Session{ID: "s"})
	if err != nil {
		b.Fatal(err)
	}
	op := operation.Operation{Text: operation.Text("SELECT abalance FROM pgbench_accounts WHERE aid = $1;"), Params: []operation.Param{{Text: operation.Text("12345")}}}
	in := record.Intent{
		Kind: "statement", Parsed: true, ReadOnly: true, Effect: "allow", Policy: strings.Repeat("0f", 32), Rule: "reads", Database: "shop", Role: "app",
		Statements: []record.Statement{{Kind: "SELECT", Class: "read", Relations: []string{"pgbench_accounts"}}},
	}
	answer := bytes.Repeat([]byte("D\x00"), 40)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		op.ID++
		err1 := s.Intent(&op, in, false)
		err2 := s.Finish(op.ID, 1, answer, record.Outcome{Status: "ok", Tag: "SELECT 1", Rows: 1, Duration: 12345})
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
	}
}
