package translog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// BenchmarkVerify verifies a log of point queries, from eight sessions at once, in
// batches as large as they are under load. With GOMAXPROCS=1 in the environment it tells the
// records of a second and a core.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	w.two.epoch(record.Boot)
	const batches, perBatch = 100, 1600
	for n := range batches {
		stored := translog.StoredBatch{}
		leaves := make([]record.Hash, perBatch)
		for i := range perBatch {
			e := pointQuery(b, w.two, uint64(n*perBatch+i))
			leaves[i] = e.Leaf()
			stored.Entries = append(stored.Entries, e)
		}
		note := w.two.batch(b, func(batch *record.Batch) {
			batch.First, batch.Count, batch.Root, batch.Seal = uint64(n*perBatch), perBatch, record.Root(leaves), n == batches-1
		}).Note
		stored.Note = note
		w.add(stored)
	}
	files := w.bundle(b)
	b.ReportAllocs()
	b.ResetTimer()
	records := 0
	for b.Loop() {
		report := w.verify(b, files)
		if !report.OK() {
			b.Fatal(report.Findings[0])
		}
		records += report.Records
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

// pointQuery returns an intent or an outcome as an agent writes them; the first of
// a session is its opening.
func pointQuery(b *testing.B, a *agentChain, no uint64) record.Entry {
	b.Helper()
	session, of := fmt.Sprintf("0123456789abcde%d", no/2%8), no/16
	h := record.Header{No: no, Time: time.Unix(1_700_000_000, int64(no)*27_341).UTC(), Mono: int64(no) * 27_341, Session: session, Operation: of}
	var body record.Body
	switch {
	case no < 16 && no%2 == 0:
		opening := opened(session)
		h.Type, h.Opened, h.Operation = opening.Type, opening.Opened, 0
	case no%2 == 0:
		h.Type, h.Intent = record.OperationIntent, &record.Intent{
			Kind: "statement", Parsed: true, ReadOnly: true, Effect: "allow", Rule: "reads", Database: "shop", Role: "app",
			Policy:     "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
			Statements: []record.Statement{{Kind: "SELECT", Class: "read", Relations: []string{"public.pgbench_accounts"}}},
		}
		body.Text = fmt.Sprintf("SELECT abalance FROM pgbench_accounts WHERE aid = %d;", no*7919%1_000_000)
	default:
		h.Type, h.Outcome = record.OperationOutcome, &record.Outcome{
			Status: "ok", Tag: "SELECT 1", Rows: 1, Duration: int64(no * 7919 % 1_000_000), Response: 66,
			Chunk: &record.Chunk{Stream: "response", At: int64(no * 7919 % 1_000_000), Size: 66},
		}
		body.Bytes = fmt.Appendf(nil, "D\x00\x00\x00\x0f\x00\x01\x00\x00\x00\x05%05dC\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I", no*7919%100_000)
	}
	header, err := record.AppendHeader(nil, &h)
	must(b, err)
	encoded, err := record.AppendBody(nil, &body)
	must(b, err)
	return record.Entry{No: no, Header: header, Body: encoded, Salt: a.salter.Salt(no)}
}
