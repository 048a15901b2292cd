package store_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

type fixture struct {
	t      *testing.T
	dir    string
	vkey   string
	signer *translog.Signer
	node   *collectortest.Agent
	*store.Store
}

func open(t *testing.T) *fixture {
	t.Helper()
	skey, vkey, err := translog.GenerateKey("log.example/test")
	check(t, err)
	signer, err := translog.NewSigner(skey)
	check(t, err)
	f := &fixture{t: t, dir: t.TempDir(), vkey: vkey, signer: signer, node: collectortest.NewAgent(t, "node-1")}
	f.open()
	t.Cleanup(func() { check(t, f.Close()) })
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	var err error
	f.Store, err = store.Open(f.t.Context(), f.dir, f.vkey, f.signer)
	check(f.t, err)
}

// indexing runs the indexer until the test ends.
func (f *fixture) indexing() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.IndexWords(ctx) }()
	f.t.Cleanup(func() {
		stop()
		check(f.t, <-done)
	})
}

// search returns the first n hits among all sessions.
func (f *fixture) search(words string, n int) ([]view.Hit, int64, error) {
	found, err := f.Search(f.t.Context(), store.Query{Sees: view.Everything(), Words: words, Limit: n})
	return found.Hits, found.Lag, err
}

// add appends one batch of the node's.
func (f *fixture) add(records ...collectortest.Record) {
	f.t.Helper()
	_, err := f.Append(f.t.Context(), []store.Batch{batch(f.t, f.node.Batch(records...))})
	check(f.t, err)
}

func batch(t *testing.T, m bus.BatchMessage) store.Batch {
	t.Helper()
	b := store.Batch{Note: m.Note, Payload: m.Payload}
	var err error
	b.Batch, err = translog.PeekBatch(m.Note)
	check(t, err)
	b.Entries, err = record.Unpack(m.Payload)
	check(t, err)
	return b
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// day has one closed session with a query, then a denied one, then an open
// one, an hour apart; it returns their ids.
func (f *fixture) day() [3]string {
	f.t.Helper()
	start := time.Now().Add(-3 * time.Hour)
	first := collectortest.NewSession(start)
	f.add(append(append([]collectortest.Record{first.Opened()}, first.Query("SELECT name FROM customers", "name", "Ada Example", "Bob")...), first.Closed())...)
	second := collectortest.NewSession(start.Add(time.Hour))
	f.add(append(append([]collectortest.Record{second.Opened()}, second.Denied("DROP TABLE public.orders", "never-drop")...), second.Closed())...)
	third := collectortest.NewSession(start.Add(2 * time.Hour))
	f.add(third.Opened())
	f.add(third.Query("SELECT 1", "n", "1")...)
	return [3]string{first.ID, second.ID, third.ID}
}

func TestSessionsAreNewestFirstAndFilterAsAsked(t *testing.T) {
	f := open(t)
	ids := f.day()
	for _, test := range []struct {
		name   string
		filter store.Filter
		want   []string
	}{
		{"all", store.Filter{}, []string{ids[2], ids[1], ids[0]}},
		{"limit", store.Filter{Limit: 1}, []string{ids[2]}},
		{"denied", store.Filter{Denied: true}, []string{ids[1]}},
		{"held", store.Filter{Held: true}, nil},
		{"open", store.Filter{Open: true}, []string{ids[2]}},
		{"since", store.Filter{Since: time.Now().Add(-90 * time.Minute)}, []string{ids[2]}},
		{"until", store.Filter{Until: time.Now().Add(-150 * time.Minute)}, []string{ids[0]}},
		{"resource", store.Filter{Resource: "shop-db"}, []string{ids[2], ids[1], ids[0]}},
		{"other resource", store.Filter{Resource: "else"}, nil},
		{"agent", store.Filter{Agent: "node-1", Denied: true}, []string{ids[1]}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.filter.Sees = view.Everything()
			sessions, err := f.Sessions(t.Context(), test.filter)
			check(t, err)
			var got []string
			for _, s := range sessions {
				got = append(got, s.ID)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("sessions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatWasDeniedIsCountedOnceWheneverThatWas(t *testing.T) {
	f := open(t)
	session := collectortest.NewSession(time.Now())
	f.add(session.Opened())
	f.add(session.Denied("DROP TABLE public.orders", "never-drop")...)
	f.add(append(session.Undone("UPDATE public.orders SET cents = 0", "a-few-at-a-time"), session.Query("SELECT 1", "n", "1")...)...)
	s, err := f.Session(t.Context(), view.Everything(), session.ID)
	check(t, err)
	if s.Ended != nil || s.Denied != 2 || s.Operations != 3 {
		t.Errorf("an open session: %+v", s)
	}
	f.add(session.Closed())
	s, err = f.Session(t.Context(), view.Everything(), session.ID)
	check(t, err)
	if s.Ended == nil || s.Denied != 2 || s.Operations != 3 {
		t.Errorf("the same, closed: %+v", s)
	}
}

func TestSessionTellsWhoAndCounts(t *testing.T) {
	f := open(t)
	ids := f.day()
	s, err := f.Session(t.Context(), view.Everything(), ids[1])
	check(t, err)
	if s.Assurance != "A2" || s.Denied != 1 || s.Operations != 1 || s.Ended == nil || s.Reason != "client" {
		t.Errorf("session: %+v", s)
	}
	if !strings.Contains(string(s.Orch), `"name":"ci-job"`) || string(s.Verified) != "{}" || !strings.Contains(string(s.Claimed), "acme/shop") {
		t.Errorf("facts: %s %s %s", s.Orch, s.Verified, s.Claimed)
	}
	if _, err := f.Session(t.Context(), view.Everything(), "nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
}

func TestRecordsAreTheExactBytesOfOneSession(t *testing.T) {
	f := open(t)
	ids := f.day()
	page, err := f.Records(t.Context(), view.Everything(), ids[0], "", store.PageBytes)
	check(t, err)
	if len(page.Records) != 4 || page.Next != "" {
		t.Fatalf("%d records, next %q", len(page.Records), page.Next)
	}
	operations, err := view.Fold(page.Records)
	check(t, err)
	if len(operations) != 1 || operations[0].Text != "SELECT name FROM customers" || operations[0].Status != "ok" || operations[0].Rows != 2 || len(operations[0].Chunks) != 1 || !bytes.Contains(operations[0].Chunks[0].Data, []byte("Ada Example")) {
		t.Errorf("operations: %+v", operations[0])
	}
	if _, err := f.Records(t.Context(), view.Everything(), ids[0], "x", store.PageBytes); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("bad cursor: %v", err)
	}
}

func TestRecordsComeInPagesThatTogetherAreAll(t *testing.T) {
	f := open(t)
	s := collectortest.NewSession(time.Now())
	f.add(s.Opened())
	const batches = 40
	for range batches {
		f.add(s.Query("SELECT x", "x", strings.Repeat("0123456789", 10_000))...)
	}
	var all []view.Record
	pages := 0
	for cursor := ""; pages == 0 || cursor != ""; pages++ {
		page, err := f.Records(t.Context(), view.Everything(), s.ID, cursor, store.PageBytes)
		check(t, err)
		all = append(all, page.Records...)
		cursor = page.Next
	}
	if pages < 2 || len(all) != 1+2*batches {
		t.Errorf("%d records on %d pages", len(all), pages)
	}
	for i, r := range all {
		if r.No != uint64(i) {
			t.Fatalf("record %d stands at %d", r.No, i)
		}
	}
}

func TestSearchFindsWordsOfEveryKind(t *testing.T) {
	f := open(t)
	f.indexing()
	ids := f.day()
	for _, test := range []struct {
		words string
		want  []string
	}{
		{"customers", []string{ids[0]}},
		{"CUSTOMERS select", []string{ids[0]}},
		{"ada", []string{ids[0]}},
		{`"Ada Example"`, []string{ids[0]}},
		{`"Example Ada"`, nil},
		{"cust*", []string{ids[0]}},
		{"cust", nil},
		{"public.orders", []string{ids[1]}},
		{"never-drop", []string{ids[1]}},
		{"acme/shop", []string{ids[2], ids[1], ids[0]}},
		{"ci-job", []string{ids[2], ids[1], ids[0]}},
		{"customers orders", nil},
		{`" AND (NEAR * ^ : -`, nil},
		{`"`, nil},
		{"x\x00y", nil},
	} {
		t.Run(test.words, func(t *testing.T) {
			hits, lag, err := f.search(test.words, 10)
			check(t, err)
			if lag != 0 {
				t.Errorf("the index is %d batches behind", lag)
			}
			var got []string
			for _, h := range hits {
				got = append(got, h.Session)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("sessions found (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordThatCannotBeReadIsAFindingAndHidesNoOther(t *testing.T) {
	for name, damage := range map[string]func(h, b []byte) ([]byte, []byte){
		"header": func(_, b []byte) ([]byte, []byte) { return []byte("{"), b },
		"other number": func(h, b []byte) ([]byte, []byte) {
			return bytes.Replace(h, []byte(`"no":1,`), []byte(`"no":7,`), 1), b
		},
		"body":          func(h, _ []byte) ([]byte, []byte) { return h, []byte("not JSON") },
		"body with NUL": func(h, _ []byte) ([]byte, []byte) { return h, []byte{0} },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			f.indexing()
			s := collectortest.NewSession(time.Now())
			records := append([]collectortest.Record{s.Opened()}, s.Query("SELECT 1", "n", "ada")...)
			records[1].Damage = damage
			f.add(append(records, s.Closed())...)
			hits, _, err := f.search("ada", 10)
			check(t, err)
			findings, err := f.Findings(t.Context(), 10)
			check(t, err)
			if len(hits) != 1 || len(findings) != 1 || findings[0].Code != store.RecordUnreadable {
				t.Errorf("hits %+v, findings %+v", hits, findings)
			}
			page, err := f.Records(t.Context(), view.Everything(), s.ID, "", store.PageBytes)
			check(t, err)
			if len(page.Records) != 3 {
				t.Errorf("%d records can be read, want 3", len(page.Records))
			}
		})
	}
}

func TestAlertsAreFindings(t *testing.T) {
	f := open(t)
	alert := func(kind string, count uint64) collectortest.Record {
		return collectortest.Record{Header: record.Header{
			Type: record.AgentAlert, Time: time.Now().UTC(),
			Alert: &record.Alert{Kind: kind, Destination: "192.0.2.1:5432", Count: count},
		}}
	}
	f.add(alert("packets_dropped", 3), alert("no_record", 1), alert("packets_dropped", 4))
	findings, err := f.Findings(t.Context(), 10)
	check(t, err)
	said := map[string]string{}
	for _, finding := range findings {
		said[finding.Code] = finding.Detail
	}
	if len(said) != 2 || !strings.Contains(said["alert-packets_dropped"], "3× 192.0.2.1:5432 ; 4×") || said["alert-no_record"] == "" {
		t.Errorf("findings: %+v", said)
	}
}

// What people type is never an error of the query language underneath. This
// is no fuzz target, because instrumenting SQLite takes minutes.
func TestSearchTakesWhateverIsTyped(t *testing.T) {
	f := open(t)
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "é", `"`, "*", "^", ":", "(", ")", "{", "}", "+", "-", "'", ";", "\\", "\x00", "\xff", " ", " OR ", " AND ", " NOT ", "NEAR(", ","}
	for range 3000 {
		var words strings.Builder
		for range random.IntN(12) {
			words.WriteString(pieces[random.IntN(len(pieces))])
		}
		if _, _, err := f.search(words.String(), 1); err != nil {
			t.Fatalf("search for %q: %v", words.String(), err)
		}
	}
}

func TestReindexMakesTheSameAgain(t *testing.T) {
	f := open(t)
	f.indexing()
	f.day()
	f.node.Restart(record.Recover)
	f.add()
	look := func() ([]view.Session, []view.Chain, []view.Hit) {
		sessions, err := f.Sessions(t.Context(), store.Filter{Sees: view.Everything()})
		check(t, err)
		chains, err := f.Chains(t.Context())
		check(t, err)
		hits, _, err := f.search("select", 10)
		check(t, err)
		return sessions, chains, hits
	}
	sessions, chains, hits := look()
	check(t, f.Reindex(t.Context()))
	sessionsAgain, chainsAgain, hitsAgain := look()
	for name, diff := range map[string]string{
		"sessions": cmp.Diff(sessions, sessionsAgain), "chains": cmp.Diff(chains, chainsAgain), "hits": cmp.Diff(hits, hitsAgain),
	} {
		if diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
	}
	if len(hits) != 4 || sessions[0].Reason != "agent lost" {
		t.Errorf("%d hits, newest session ended by %q", len(hits), sessions[0].Reason)
	}
}

func TestCutLogIsRefusedAtStart(t *testing.T) {
	f := open(t)
	f.day()
	check(t, f.Close())
	alter(t, f.dir, "DELETE FROM batches WHERE log_index = 3")
	if s, err := store.Open(t.Context(), f.dir, f.vkey, f.signer); err == nil {
		check(t, s.Close())
		t.Error("opened a log that was cut")
	}
	f.dir = t.TempDir()
	f.open()
}
