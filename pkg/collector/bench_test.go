package collector_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/config"
)

const (
	benchBatch   = 2000 // records
	benchBatches = 100  // made before the clock runs
)

// BenchmarkIngest is a whole collector that takes in a trail of point queries
// from one agent as fast as it can: records/s until the agent has receipts for
// all (durable on NATS's and SQLite's disk, and provable), and how long the
// words to search are behind then. Then it searches: the percentile of 200
// searches for words that few records have, and that all have. With
// SLUICE_BENCH_RECORDS so many records are taken in, 200,000 without. Run it
// with -benchtime 1x.
func BenchmarkIngest(b *testing.B) {
	records := benchBatch * benchBatches
	if text := os.Getenv("SLUICE_BENCH_RECORDS"); text != "" {
		var err error
		records, err = strconv.Atoi(text)
		check(b, err)
	}
	for b.Loop() {
		ingests(b, records)
	}
}

func ingests(b *testing.B, records int) {
	b.Helper()
	dir := b.TempDir()
	var cfg collector.Config
	cfg.Defaults()
	cfg.Cluster, cfg.DataDir = collectortest.Cluster, config.Path(filepath.Join(dir, "data"))
	check(b, cfg.API.Listen.UnmarshalText([]byte("127.0.0.1:0")))
	check(b, cfg.Bus.Listen.UnmarshalText([]byte("127.0.0.1:27431")))
	_, err := collector.Init(cfg)
	check(b, err)
	check(b, collector.Enrol(cfg, node, filepath.Join(dir, node)))
	c, err := collector.Open(b.Context(), cfg, zap.NewNop())
	check(b, err)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		stop()
		check(b, <-ended)
		check(b, c.Close())
	}()

	key := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, node, name))
		check(b, err)
		return strings.TrimSpace(string(data))
	}
	skey := key(collector.SigningKeyFile)
	from := collectortest.WithKey(b, node, skey, "")
	conn, err := bus.ConnectAgent(bus.AgentConfig{
		URL: fmt.Sprintf("nats://%s", cfg.Bus.Listen), Cluster: cfg.Cluster, Agent: node,
		Security: bus.Security{Seed: []byte(key(collector.SeedFile))}, Log: zap.NewNop(), Connected: func() {},
	})
	check(b, err)
	defer conn.Close()
	var receipted atomic.Int64
	more := make(chan struct{}, 1)
	check(b, conn.OnReceipt(func(receipt []byte) {
		var r struct{ Batches []json.RawMessage }
		if json.Unmarshal(receipt, &r) == nil {
			receipted.Add(int64(len(r.Batches)))
		}
		select {
		case more <- struct{}{}:
		default:
		}
	}))

	var took, behind time.Duration
	sent := int64(0)
	for done := 0; done < records; done += benchBatch * benchBatches {
		b.StopTimer()
		made := make([]bus.BatchMessage, benchBatches)
		for i := range made {
			made[i] = from.Batch(queries(sent + int64(i))...)
		}
		b.StartTimer()
		began := time.Now()
		for _, m := range made {
			check(b, conn.PublishBatch(ctx, m.Note, m.Payload))
		}
		sent += int64(len(made))
		for receipted.Load() < sent {
			<-more
		}
		took += time.Since(began)
		began = time.Now()
		for found := (view.Found{Lag: 1}); found.Lag > 0; {
			found, err = c.Store().Search(ctx, store.Query{Words: "nothing", Limit: 1})
			check(b, err)
		}
		behind += time.Since(began)
	}
	all := float64(sent * benchBatch)
	b.ReportMetric(all, "records")
	b.ReportMetric(all/took.Seconds(), "durable-records/s")
	b.ReportMetric(all/(took+behind).Seconds(), "indexed-records/s")
	for name, word := range map[string]func(i int) string{
		"rare":   func(i int) string { return "needle" + strconv.Itoa(i*int(sent)/searches) },
		"common": func(int) string { return "pgbench_accounts select" },
		"both":   func(i int) string { return "select needle" + strconv.Itoa(i*int(sent)/searches) },
	} {
		b.ReportMetric(float64(percentile(b, c.Store(), word).Microseconds())/1000, name+"-p95-ms")
	}
}

// queries is a batch of point queries, of which one has a word of its own.
func queries(n int64) []collectortest.Record {
	s := collectortest.NewSession(time.Now())
	all := append([]collectortest.Record{s.Opened()}, s.Query("SELECT 'needle"+strconv.FormatInt(n, 10)+"'", "n", "x")...)
	for i := 0; len(all) < benchBatch-1; i++ {
		aid := strconv.Itoa(int(n)*benchBatch + i)
		all = append(all, s.Query("SELECT abalance FROM pgbench_accounts WHERE aid = "+aid, "abalance", "-"+aid)...)
	}
	return append(all, s.Closed())[:benchBatch]
}

const searches = 200

// percentile returns what 95 of 100 searches take at most.
func percentile(b *testing.B, db *store.Store, word func(i int) string) time.Duration {
	b.Helper()
	took := make([]time.Duration, searches)
	for i := range took {
		began := time.Now()
		found, err := db.Search(b.Context(), store.Query{Sees: view.Everything(), Words: word(i), Limit: 20})
		check(b, err)
		took[i] = time.Since(began)
		if len(found.Hits) == 0 {
			b.Fatalf("nothing is found for %q", word(i))
		}
	}
	slices.Sort(took)
	return took[searches*95/100]
}
