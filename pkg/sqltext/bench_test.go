package sqltext_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

var benchTexts = []struct{ name, text string }{
	{"point", "SELECT abalance FROM pgbench_accounts WHERE aid = 12345"},
	{"join", "SELECT o.id, c.name, sum(i.price * i.count) FROM orders o JOIN customers c ON c.id = o.customer JOIN items i ON i.order_id = o.id WHERE o.made > '2026-01-01' GROUP BY o.id, c.name ORDER BY 3 DESC LIMIT 10"},
	{"bulk", "INSERT INTO t (a, b) VALUES " + strings.Repeat("(1, 'some text'), ", 2000) + "(2, 'x')"},
}

func BenchmarkKnownShape(b *testing.B) {
	for _, bench := range benchTexts {
		b.Run(bench.name, func(b *testing.B) {
			text := []byte(bench.text)
			if got := analyzer.Analyze(text, usual); !got.Parsed {
				b.Fatal(got.Why)
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				analyzer.Analyze(text, usual)
			}
		})
	}
}

func BenchmarkKnownShapeParallel(b *testing.B) {
	text := []byte(benchTexts[0].text)
	analyzer.Analyze(text, usual)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			analyzer.Analyze(text, usual)
		}
	})
}

func BenchmarkNewShape(b *testing.B) {
	for _, bench := range benchTexts {
		b.Run(bench.name, func(b *testing.B) {
			sqltext.AnalyzeAlone(analyzer, "SELECT 1")
			n := 0
			for b.Loop() {
				n++
				sqltext.AnalyzeAlone(analyzer, fmt.Sprintf("%s /* %d */", bench.text, n))
			}
		})
	}
}
