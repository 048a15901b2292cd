package postgres_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// TestMaskedRowsCostNoMemory feeds buffers of rows with a masked column.
func TestMaskedRowsCostNoMemory(t *testing.T) {
	for _, method := range []mask.Method{mask.Redact, mask.Null, mask.Hash, mask.Partial} {
		columns := []mask.Column{{Schema: "public", Table: "customers", Column: "email", Mask: "pii", Method: method}}
		for _, format := range []string{"0", "1"} {
			d := newDriver(t, columns)
			d.logIn(t, maskedCatalog)
			d.feed(protocol.ClientLeg, bytesOf(t, `P "" "SELECT * FROM customers" i16:0 + B "" "" i16:0 i16:0 i16:0 + D raw:"P" "" + E "" i32:0 + S`))
			d.feed(protocol.ServerLeg, bytesOf(t, `1 + 2 + T i16:2 "id" i32:20000 i16:1 i32:23 i16:4 i32:-1 i16:`+format+
				` "email" i32:20000 i16:3 i32:25 i16:-1 i32:-1 i16:`+format))
			costsNothing(t, string(method)+" in format "+format, d, bytesOf(t, `D i16:2 i32:4 raw:"1234" i32:17 raw:"alice@example.com"`))
		}
	}
}

// costsNothing gives the server leg the same frame many times.
func costsNothing(t *testing.T, name string, d *driver, frame []byte) {
	t.Helper()
	frames := bytes.Repeat(frame, 16<<10/len(frame))
	feed := func() {
		if left := d.feed(protocol.ServerLeg, frames); len(left) > 0 || d.ended {
			t.Fatalf("%s: %d bytes are left, ended %v", name, len(left), d.ended)
		}
	}
	feed()
	if n := testing.AllocsPerRun(20, feed); n >= 1 {
		t.Errorf("%s: %v allocations for %d rows", name, n, len(frames)/len(frame))
	}
	d.keep = true
	feed()
	if strings.Contains(string(d.sent[protocol.ClientLeg]), "alice") {
		t.Errorf("%s: the value reaches the client", name)
	}
}
