package mysqltext_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mysqltext"
)

var benchTexts = []struct{ name, text string }{
	{"point", "SELECT c FROM sbtest1 WHERE id = 12345"},
	{"join", "SELECT o.id, c.name, sum(i.price * i.count) FROM orders o JOIN customers c ON c.id = o.customer JOIN items i ON i.order_id = o.id WHERE o.made > '2026-01-01' GROUP BY o.id, c.name ORDER BY 3 DESC LIMIT 10"},
	{"bulk", "INSERT INTO t (a, b) VALUES " + strings.Repeat("(1, 'some text'), ", 2000) + "(2, 'x')"},
}

func TestKnownShapeAllocatesNothing(t *testing.T) {
	for _, bench := range benchTexts {
		text := []byte(bench.text)
		analyzer.Analyze(text, mysql8)
		if n := testing.AllocsPerRun(100, func() { analyzer.Analyze(text, mysql8) }); n > spilled {
			t.Errorf("%s: %v allocations", bench.name, n)
		}
	}
}

func BenchmarkKnownShape(b *testing.B) {
	for _, bench := range benchTexts {
		b.Run(bench.name, func(b *testing.B) {
			text := []byte(bench.text)
			if got := analyzer.Analyze(text, mysql8); !got.Parsed {
				b.Fatal(got.Why)
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				analyzer.Analyze(text, mysql8)
			}
		})
	}
}

func BenchmarkNewShape(b *testing.B) {
	for _, bench := range benchTexts {
		b.Run(bench.name, func(b *testing.B) {
			fresh, n := mysqltext.New(), 0
			for b.Loop() {
				n++
				text := fmt.Sprintf("%s; SELECT c%d", bench.text, n)
				if got := fresh.Analyze([]byte(text), mysql8); !got.Parsed {
					b.Fatal(got.Why)
				}
			}
		})
	}
}
