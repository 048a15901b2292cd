package collector_test

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
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
	for b.Loop() {
		ingests(b, benchRecords(b))
	}
}

func benchRecords(b *testing.B) int {
	b.Helper()
	text := os.Getenv("SLUICE_BENCH_RECORDS")
	if text == "" {
		return benchBatch * benchBatches
	}
	records, err := strconv.Atoi(text)
	check(b, err)
	return records
}

func ingests(b *testing.B, records int) {
	b.Helper()
	s := newSite(b)
	from := s.feeder()
	var took, behind time.Duration
	n := int64(0)
	for done := 0; done < records; done += benchBatch * benchBatches {
		b.StopTimer()
		made := make([]bus.BatchMessage, benchBatches)
		for i := range made {
			made[i] = from.Batch(queries(n)...)
			n++
		}
		b.StartTimer()
		began := time.Now()
		from.publish(b, made)
		took += time.Since(began)
		began = time.Now()
		s.awaitWords()
		behind += time.Since(began)
	}
	all := float64(n * benchBatch)
	b.ReportMetric(all, "records")
	b.ReportMetric(all/took.Seconds(), "durable-records/s")
	b.ReportMetric(all/(took+behind).Seconds(), "indexed-records/s")
	for name, word := range map[string]func(i int) string{
		"rare":   func(i int) string { return "needle" + strconv.Itoa(i*int(n)/searches) },
		"common": func(int) string { return "pgbench_accounts select" },
		"both":   func(i int) string { return "select needle" + strconv.Itoa(i*int(n)/searches) },
	} {
		b.ReportMetric(float64(percentile(b, s.collector.Store(), word).Microseconds())/1000, name+"-p95-ms")
	}
}

// feeder is an agent that publishes batches, made before, as fast as they are
// taken.
type feeder struct {
	*node2
	sent, receipted atomic.Int64
	more            chan struct{}
}

func (s *site) feeder() *feeder {
	s.t.Helper()
	f := &feeder{node2: s.node2(), more: make(chan struct{}, 1)}
	check(s.t, f.bus.OnReceipt(func(receipt []byte) {
		var r struct{ Batches []json.RawMessage }
		if json.Unmarshal(receipt, &r) == nil {
			f.receipted.Add(int64(len(r.Batches)))
		}
		select {
		case f.more <- struct{}{}:
		default:
		}
	}))
	return f
}

// publish returns when there are receipts for all.
func (f *feeder) publish(t testing.TB, made []bus.BatchMessage) {
	t.Helper()
	for _, m := range made {
		check(t, f.bus.PublishBatch(t.Context(), m.Note, m.Payload))
	}
	f.sent.Add(int64(len(made)))
	for f.receipted.Load() < f.sent.Load() {
		<-f.more
	}
}

// awaitWords waits until all that is stored can be searched.
func (s *site) awaitWords() {
	s.t.Helper()
	for found := (view.Found{Lag: 1}); found.Lag > 0; {
		var err error
		found, err = s.collector.Store().Search(s.t.Context(), store.Query{Words: "nothing", Limit: 1})
		check(s.t, err)
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
