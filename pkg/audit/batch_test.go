package audit_test

import (
	"crypto/rand"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Records that do not get smaller fill a payload long before a batch is full.
func TestRecordsThatCannotBePackedTakeMoreBatches(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := startSized(t, t.TempDir(), c, 1<<20, 32<<20)
	s := openSession(t, r.Log, "s1")
	noise := make([]byte, 30<<10)
	for i := range 100 {
		_, _ = rand.Read(noise)
		op := operation.Operation{ID: uint64(i + 1), Text: noise}
		must(t, s.Intent(&op, record.Intent{Effect: "allow"}, false))
	}
	must(t, r.stop())
	report := c.verify(t, translog.Scope{Kind: translog.WholeLog})
	expectOK(t, report)
	if report.Records != 102 {
		t.Errorf("got %d records, want 102", report.Records)
	}
	if report.Batches < 100*30<<10/record.MaxPayload {
		t.Errorf("%d batches hold more than they can", report.Batches)
	}
}
