package postgres_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// BenchmarkPointQuery is one query and its answer through the conversation
// alone, as pgbench sends them in each mode.
func BenchmarkPointQuery(b *testing.B) {
	answer := `D i16:1 i32:2 raw:"42" + C "SELECT 1"`
	for _, mode := range []struct{ name, client, server string }{
		{
			"simple", `Q "SELECT abalance FROM pgbench_accounts WHERE aid = 42"`,
			`T i16:1 "abalance" i32:20001 i16:3 i32:23 i16:4 i32:-1 i16:0 + ` + answer + ` + Z i8:73`,
		},
		{
			"extended", `P "" "SELECT abalance FROM pgbench_accounts WHERE aid = $1" i16:0 + B "" "" i16:0 i16:1 i32:2 raw:"42" i16:1 i16:0 + D raw:"P" "" + E "" i32:0 + S`,
			`1 + 2 + T i16:1 "abalance" i32:20001 i16:3 i32:23 i16:4 i32:-1 i16:0 + ` + answer + ` + Z i8:73`,
		},
		{
			"prepared", `B "" "p" i16:0 i16:1 i32:2 raw:"42" i16:1 i16:0 + D raw:"P" "" + E "" i32:0 + S`,
			`2 + T i16:1 "abalance" i32:20001 i16:3 i32:23 i16:4 i32:-1 i16:0 + ` + answer + ` + Z i8:73`,
		},
	} {
		b.Run(mode.name, func(b *testing.B) {
			d := newDriver(b, nil)
			d.logIn(b, "")
			if mode.name == "prepared" {
				d.feed(protocol.ClientLeg, bytesOf(b, `P "p" "SELECT abalance FROM pgbench_accounts WHERE aid = $1" i16:0 + S`))
				d.feed(protocol.ServerLeg, bytesOf(b, `1 + Z i8:73`))
			}
			client, server := bytesOf(b, mode.client), bytesOf(b, mode.server)
			d.feed(protocol.ClientLeg, client) // the parser is loaded, the shape is known
			d.feed(protocol.ServerLeg, server)
			b.ReportAllocs()
			for b.Loop() {
				d.feed(protocol.ClientLeg, client)
				d.feed(protocol.ServerLeg, server)
			}
			if d.ended || d.open != 0 {
				b.Fatalf("ended %v with %d operations open", d.ended, d.open)
			}
		})
	}
}

// BenchmarkRows is rows of ten columns, as they come in a 32 KiB buffer.
func BenchmarkRows(b *testing.B) {
	for _, masked := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "masked"}[masked], func(b *testing.B) {
			d := newDriver(b, customerMasks[:1])
			d.logIn(b, maskedCatalog)
			table := "20000"
			if !masked {
				table = "1259"
			}
			description := "T i16:10" + strings.Repeat(fmt.Sprintf(` "email" i32:%s i16:3 i32:25 i16:-1 i32:-1 i16:0`, table), 2) +
				strings.Repeat(` "c" i32:1259 i16:2 i32:25 i16:-1 i32:-1 i16:0`, 8)
			d.feed(protocol.ClientLeg, bytesOf(b, `P "" "SELECT * FROM pg_class" i16:0 + B "" "" i16:0 i16:0 i16:0 + D raw:"P" "" + E "" i32:0 + S`))
			d.feed(protocol.ServerLeg, bytesOf(b, `1 + 2 + `+description))
			row := bytesOf(b, "D i16:10"+strings.Repeat(` i32:12 raw:"abcdefghijkl"`, 10))
			rows := bytes.Repeat(row, 32<<10/len(row))
			b.SetBytes(int64(len(rows)))
			b.ReportAllocs()
			for b.Loop() {
				if left := d.feed(protocol.ServerLeg, rows); len(left) > 0 || d.ended {
					b.Fatalf("%d bytes are left, ended %v", len(left), d.ended)
				}
			}
			b.ReportMetric(float64(b.N*(len(rows)/len(row)))/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkCopyOut is COPY data, which nobody looks into.
func BenchmarkCopyOut(b *testing.B) {
	d := newDriver(b, nil)
	d.logIn(b, "")
	d.feed(protocol.ClientLeg, bytesOf(b, `Q "COPY pg_class TO STDOUT"`))
	d.feed(protocol.ServerLeg, bytesOf(b, `H i8:0 i16:1 i16:0`))
	frame := bytesOf(b, `d raw:"`+strings.Repeat("x", 100)+`"`)
	frames := bytes.Repeat(frame, 32<<10/len(frame))
	b.SetBytes(int64(len(frames)))
	b.ReportAllocs()
	for b.Loop() {
		d.feed(protocol.ServerLeg, frames)
	}
}
