package audit

import (
	"errors"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// BenchmarkBatch measures what a record of a point query costs once it is in the
// spool, until its batch is signed and there, too.
func BenchmarkBatch(b *testing.B) {
	sp, err := spool.Open(spool.Config{Dir: b.TempDir(), Segment: 16 << 20, Limit: 4 << 30})
	agent, _, err2 := translog.GenerateKey(translog.AgentKeyName("c", "a"))
	_, collector, err3 := translog.GenerateKey("log.example")
	signer, err4 := translog.NewSigner(agent)
	verifier, err5 := translog.NewVerifier(collector)
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sp.Close() }()
	l, err := Open(Config{Spool: sp, Signer: signer, Collector: verifier, Cluster: "c", Agent: "a", Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	s, err := l.Session(&session.Session{ID: "0123456789abcdef"})
	if err != nil {
		b.Fatal(err)
	}
	op := operation.Operation{Text: operation.Text("SELECT abalance FROM pgbench_accounts WHERE aid = $1;"), Params: []operation.Param{{Text: operation.Text("12345")}}}
	in := record.Intent{
		Kind: "statement", Parsed: true, ReadOnly: true, Effect: "allow", Rule: "reads", Database: "shop", Role: "app",
		Policy:     "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
		Statements: []record.Statement{{Kind: "SELECT", Class: "read", Relations: []string{"public.pgbench_accounts"}}},
	}
	records := 0
	for b.Loop() {
		b.StopTimer()
		for range 800 {
			op.ID++
			err1 := s.Intent(&op, in, false)
			err2 := s.Finish(op.ID, 1, []byte("D\x00\x00\x00\x0f\x00\x01\x00\x00\x00\x0512345C\x00\x00\x00\x0dSELECT 1\x00"), record.Outcome{Status: "ok", Tag: "SELECT 1", Rows: 1, Duration: int64(op.ID * 7919)})
			if err := errors.Join(err1, err2); err != nil {
				b.Fatal(err)
			}
			records += 2
		}
		b.StartTimer()
		if _, err := l.batchAll(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
}
