package guard_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/spool"
)

// What is sealed stands nowhere in the spool, and equal values can be told.
func TestSealedValuesAreNotInTheSpool(t *testing.T) {
	b := newBench(t, verified())
	const canary = "kanarie.zq7@example.test"
	seal := string(b.guard.Trail.Seal(nil, []byte(canary)))
	op := statement("INSERT", operation.Write)
	op.Text = operation.Text("INSERT INTO t VALUES (" + seal + ", $1)")
	op.Bytes = []byte("INSERT INTO t VALUES ('" + canary + "', $1)")
	op.Params = []operation.Param{{Text: operation.Text(canary), Sealed: true}}
	op.SealedRequest, op.SealedResponse = true, true
	x, err := b.guard.Begin(t.Context(), op)
	must(t, err)
	_, err = x.Decide(t.Context(), nil)
	must(t, err)
	must(t, x.Record(protocol.Request, 0, []byte(canary)))
	must(t, x.Finish(0, []byte(canary), protocol.Outcome{Status: protocol.OK}))

	var all bytes.Buffer
	for at := spool.Position(0); ; {
		entry, ok, err := b.spool.Read(at)
		must(t, err)
		if !ok {
			break
		}
		all.Write(entry.Head)
		all.Write(entry.Rest)
		at = entry.Next
	}
	if bytes.Contains(all.Bytes(), []byte(canary)) {
		t.Error("the spool holds the value")
	}
	mac := strings.Fields(seal)[1]
	if n := bytes.Count(all.Bytes(), []byte(mac)); n != 4 { // text, parameter, both streams
		t.Errorf("%s stands in the spool %d times", mac, n)
	}
}
