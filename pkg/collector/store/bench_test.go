package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// BenchmarkIndexWords measures how fast the words follow: point queries, each
// of two records, which both have words.
func BenchmarkIndexWords(b *testing.B) {
	skey, vkey, err := translog.GenerateKey("log.example/test")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := translog.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(b.Context(), b.TempDir(), vkey, signer)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	}()
	node := collectortest.NewAgent(b, "node-1")
	records := 0
	for b.Loop() {
		b.StopTimer()
		for range 16 {
			s := collectortest.NewSession(time.Now())
			all := []collectortest.Record{s.Opened()}
			for len(all) < 300 {
				all = append(all, s.Query("SELECT abalance FROM pgbench_accounts WHERE aid = 42", "abalance", "0")...)
			}
			m := node.Batch(all...)
			one := store.Batch{Note: m.Note, Payload: m.Payload}
			if one.Batch, err = translog.PeekBatch(m.Note); err != nil {
				b.Fatal(err)
			}
			if one.Entries, err = record.Unpack(m.Payload); err != nil {
				b.Fatal(err)
			}
			if _, err := db.Append(b.Context(), []store.Batch{one}); err != nil {
				b.Fatal(err)
			}
			records += len(all)
		}
		b.StartTimer()
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- db.IndexWords(ctx) }()
		if found, err := db.Search(b.Context(), store.Query{Words: "nothing", Limit: 1}); err != nil || found.Lag > 0 {
			b.Fatalf("lag %d: %v", found.Lag, err)
		}
		stop()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}
