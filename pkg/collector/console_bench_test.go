package collector_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

const (
	benchSessions = 40  // of a batch, which is one run
	benchHolds    = 999 // that wait meanwhile
	pageLoads     = 40  // of each page
	enough        = 10 * time.Second
)

// BenchmarkConsole loads every page of the console as ada, who sees everything,
// and the lists as tom, whose team sees one session of a thousand, and rita, who
// sees that and nearly all repositories, by their beginning.
// Behind it stand as many records as SLUICE_BENCH_RECORDS says, 200,000 without,
// of 50 for a session and 2,000 for a run, one session of 100,000, and a
// thousand holds. It logs what half of the loads and 95 of 100 take at most,
// over one connection, with what is put on the record before. Run it with -v
// -benchtime 1x.
func BenchmarkConsole(b *testing.B) {
	s := newSite(b)
	s.withConsole()
	ids := s.fillUp(b, benchRecords(b)/benchBatch)
	s.holds(s.agent(), benchHolds)
	await(b, "all are asked for", func() bool {
		newest := get[[]view.Approval](s, "/v1/approvals?limit=1")
		return len(newest) > 0 && newest[0].Number == benchHolds
	})
	limited := []string{"/sessions", "/sessions?denied=1", "/sessions?open=1", "/sessions?protocol=postgres", "/sessions?agent=nobody", "/runs", "/search?q=select", "/approvals"}
	for b.Loop() {
		from := 0
		for _, who := range []struct {
			name  string
			pages []string
		}{{"ada", benchPages(ids)}, {"tom", limited}, {"rita", limited}} {
			person := s.browser(who.name)
			person.login("")
			for _, page := range who.pages {
				from++
				person.time(b, from, page)
			}
		}
	}
}

// fillUp stores n batches. It returns ids of sessions by what they are.
func (s *site) fillUp(b *testing.B, n int) map[string]string {
	b.Helper()
	ids := map[string]string{}
	from := s.feeder()
	began := time.Now().Add(-time.Duration(n) * time.Minute)
	ready := make(chan []bus.BatchMessage, 1)
	go func() {
		defer close(ready)
		long := collectortest.NewSession(began)
		for i := 0; i < n; i += benchBatches {
			made := make([]bus.BatchMessage, 0, benchBatches)
			for j := i; j < min(n, i+benchBatches); j++ {
				if j < 50 {
					made = append(made, from.Batch(longer(long, j)...))
					continue
				}
				made = append(made, from.Batch(ofRun(j, began.Add(time.Duration(j)*time.Minute), ids)...))
			}
			ready <- made
		}
		ids["long"] = long.ID
	}()
	for made := range ready {
		from.publish(b, made)
	}
	s.awaitWords()
	return ids
}

// longer is a batch of one session alone.
func longer(s *collectortest.Session, batch int) (all []collectortest.Record) {
	if batch == 0 {
		all = append(all, s.Opened())
	}
	for i := 0; len(all) < benchBatch-1; i++ {
		all = append(all, s.Query(fmt.Sprintf("UPDATE stock SET n = n - 1 WHERE id = %d", batch*benchBatch+i), "n", strconv.Itoa(i))...)
	}
	return all
}

// ofRun is a batch of the sessions of one run, which began at a time. Few of
// them are shop-db's and acme/shop's.
func ofRun(n int, at time.Time, ids map[string]string) (all []collectortest.Record) {
	for i := range benchSessions {
		s, opened := shop(at.Add(time.Duration(i)*time.Second), fmt.Sprintf("%064d", n))
		what := opened.Header.Opened
		repository := fmt.Sprintf("acme/app-%d", n%50)
		if n%25 == 0 {
			repository = "acme/shop"
		}
		if i > 0 {
			what.Resource = fmt.Sprintf("db-%d", i)
		}
		what.Workload.Verified["repository"], what.Workload.Verified["run_id"] = repository, strconv.Itoa(n)
		all = append(all, opened)
		size := benchBatch/benchSessions - 1
		if i == 7 && n%10 == 0 {
			all = append(all, s.Denied("DROP TABLE stock", "never-drop-a-table")...)
			size -= 2
		}
		for ; size > 1; size -= 2 {
			all = append(all, s.Query(fmt.Sprintf("SELECT n FROM stock WHERE id = %d AND batch = 'needle%d'", size, n), "n", strconv.Itoa(n))...)
		}
		if i != 11 || n%10 != 0 { // else it stays open
			all = append(all, s.Closed())
		}
		ids["session"], ids["run"], ids["container"] = s.ID, "verified:"+repository+"/"+strconv.Itoa(n), what.Workload.Kernel.Container
		if i == 11 && n%10 == 0 {
			ids["open"] = s.ID
		}
	}
	return all
}

func benchPages(ids map[string]string) []string {
	session, long, run := "/sessions/"+ids["session"], "/sessions/"+ids["long"], url.QueryEscape(ids["run"])
	return []string{
		"/approvals", "/approvals?state=all", "/approvals?before=500", "/approvals/500", "/runs", "/runs?before=" + run, "/run?run=" + run,
		"/sessions", "/sessions?before=" + ids["open"], "/sessions?resource=db-7", "/sessions?repository=" + url.QueryEscape("acme/shop"),
		"/sessions?denied=1", "/sessions?held=1", "/sessions?open=1", "/sessions?since=1h", "/sessions?protocol=ssh", "/sessions?agent=nobody", "/sessions?resource=db-7&denied=1", "/sessions?resource=db-8&denied=1",
		session, session + "/records", session + "/proof", long, long + "/records", long + "/proof",
		"/search?q=needle77", "/search?q=select", "/search?q=drop+stock", "/agents", "/policy", "/verification", "/stop?session=" + ids["open"], "/stop?run=" + run,
	}
}

// time loads a page again and again, from an address of its own, as the limit
// of requests is by address.
func (b *browser) time(t testing.TB, number int, page string) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(number))}}
	b.client.Transport = &http.Transport{DialContext: dialer.DialContext}
	var took []time.Duration
	size := 0
	for start := time.Now(); len(took) < pageLoads && time.Since(start) < enough; {
		began := time.Now()
		status, body, _ := b.get(page)
		took = append(took, time.Since(began))
		if status != http.StatusOK {
			t.Errorf("%s: %d %.200s", page, status, body)
			return
		}
		size = len(body)
	}
	slices.Sort(took)
	short, _, _ := strings.Cut(page, "%")
	t.Logf("%-4s %-50.50s %8v %8v %6d KiB", b.name, short, took[len(took)/2].Round(100*time.Microsecond), took[len(took)*95/100].Round(100*time.Microsecond), size>>10)
}
