package collector_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/workload"
)

// poison writes hostile text into every field that can hold text, and makes
// what is not there so that it can.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
			poison(v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(hostile))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		poison(v.Index(0))
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf(hostile).Convert(v.Type().Key()), reflect.ValueOf(hostile))
		}
	case reflect.Struct:
		if _, isTime := v.Interface().(time.Time); isTime {
			return
		}
		if _, isAddress := v.Interface().(netip.AddrPort); isAddress {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				poison(v.Field(i))
			}
		}
	}
}

// poisoned is a session of a protocol in which every text is hostile, but for
// what says how a record is to be read.
func poisoned(protocol string) (id string, records []collectortest.Record) {
	s, opened := shop(time.Now().Add(-time.Minute), "feed")
	was := *opened.Header.Opened
	poison(reflect.ValueOf(opened.Header.Opened).Elem())
	opened.Header.Opened.ID, opened.Header.Opened.Protocol, opened.Header.Opened.Workload.Assurance = was.ID, protocol, workload.Verified
	records = append(records, opened)
	for _, kind := range []string{"sql", "ssh", "git", "kube"} {
		q := s.Query(hostile, hostile, hostile)
		poison(reflect.ValueOf(q[0].Header.Intent).Elem())
		in := q[0].Header.Intent
		switch kind {
		case "sql":
			in.SSH, in.Git, in.Kube = nil, nil, nil
		case "ssh":
			in.Git, in.Kube = nil, nil
		case "git":
			in.SSH, in.Kube = nil, nil
		case "kube":
			in.SSH, in.Git = nil, nil
		}
		outcome := *q[1].Header.Outcome
		poison(reflect.ValueOf(q[1].Header.Outcome).Elem())
		q[1].Header.Outcome.Chunk = outcome.Chunk
		q[1].Body.Bytes = []byte(hostile)
		chunk := q[1]
		chunk.Header.Type, chunk.Header.Outcome = record.OperationChunk, nil
		chunk.Header.Chunk = &record.Chunk{Stream: "response", At: int64(time.Millisecond), Size: int64(len(hostile))}
		chunk.Body = &record.Body{Text: hostile}
		q[0].Body = &record.Body{Text: hostile, Params: []record.Param{{Sealed: hostile, Length: 3}, {Bytes: []byte(hostile)}}}
		records = append(records, q[0], chunk, q[1])
	}
	closed := s.Closed()
	closed.Header.Closed.Reason = hostile
	step := record.Approval{}
	poison(reflect.ValueOf(&step).Elem())
	settled := s.Approval(record.ApprovalSettled, step)
	alert := collectortest.Record{Header: record.Header{Type: record.AgentAlert, Time: time.Now().UTC(), Alert: &record.Alert{Kind: hostile, Detail: hostile, Destination: hostile, Count: 1}}}
	return s.ID, append(records, settled, alert, closed)
}

// TestNothingThatAJobWritesBecomesMarkup looks at every page of sessions in
// which every text of every record is hostile.
func TestNothingThatAJobWritesBecomesMarkup(t *testing.T) {
	s := newSite(t)
	s.withOrders()
	a, n := s.agent(), s.node2()
	ids := map[string]string{}
	for _, protocol := range []string{"postgres", "ssh", hostile} {
		id, records := poisoned(protocol)
		n.add(t, records...)
		s.awaitStored(id)
		ids[protocol] = id
	}
	a.ask(t, "shop-db", "acme/shop", func(r *approval.Request) {
		r.Text, r.Asks, r.Rule, r.Reason, r.Requester.Name = hostile, hostile, hostile, hostile, hostile
	})
	ada := s.browser("ada")
	ada.login("")
	pages := []string{
		"/sessions", "/runs", "/approvals?state=all", "/approvals/1", "/agents", "/policy", "/verification",
		"/run?run=" + url.QueryEscape("verified:"+hostile+"/"+hostile), "/search?q=pwned", "/search?q=" + url.QueryEscape(hostile),
		"/sessions?resource=" + url.QueryEscape(hostile), "/approvals?state=" + url.QueryEscape(hostile), "/stop?run=" + url.QueryEscape("verified:"+hostile+"/"+hostile),
		"/stop?container=" + url.QueryEscape(hostile),
	}
	for _, id := range ids {
		pages = append(pages, "/sessions/"+id, "/sessions/"+id+"/records", "/sessions/"+id+"/proof", "/stop?session="+id)
	}
	shown := 0
	for _, path := range pages {
		status, page, _ := ada.get(path)
		if status == http.StatusInternalServerError {
			t.Errorf("%s: %.600s", path, page)
		}
		for _, mark := range []string{"<script>pwned", "<img src=x", "onerror=pwned=1>", "</pre>{{", "${pwned=1}'</pre>"} {
			if at := strings.Index(page, mark); at >= 0 {
				t.Errorf("%s: %q has become markup: …%s…", path, mark, page[max(0, at-120):min(len(page), at+80)])
			}
		}
		shown += strings.Count(page, "pwned")
	}
	if shown < 200 {
		t.Errorf("hostile text is shown %d times: the pages do not hold what they should", shown)
	}
	for _, path := range []string{"/v1/sessions", "/v1/sessions/" + ids["ssh"] + "/records", "/sessions/" + ids["ssh"] + "/cast/2"} {
		status, header := s.raw(ada, path)
		kind := header.Get("Content-Type")
		if status != http.StatusOK || header.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(kind, "html") || kind == "" {
			t.Errorf("%s: %d of type %q can be taken for a page", path, status, kind)
		}
	}
}

// patient asks again while there were too many requests, and says how long the
// answer took.
func (b *browser) patient(path string) (status int, page string, took time.Duration) {
	b.t.Helper()
	await(b.t, "there were not too many requests", func() bool {
		begun := time.Now()
		status, page, _ = b.get(path)
		took = time.Since(begun)
		return status != http.StatusTooManyRequests
	})
	return status, page, took
}

// raw asks for what is no page.
func (s *site) raw(b *browser, path string) (int, http.Header) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.console()+path, nil)
	check(s.t, err)
	r.Header.Set("Authorization", "Bearer "+s.bootstrap)
	answer, err := b.client.Do(r)
	check(s.t, err)
	check(s.t, answer.Body.Close())
	return answer.StatusCode, answer.Header
}

// TestSearchIsNoQueryLanguageOfAnybodyElses types what has broken others: into
// the search, and into every filter.
func TestSearchIsNoQueryLanguageOfAnybodyElses(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runFor(t, "ours0000", "shop-db", "acme/shop", "SELECT needle")
	a.runFor(t, "theirs00", "shop-db", "acme/wiki", "SELECT needle")
	s.awaitSession("ours0000")
	s.awaitSession("theirs00")
	tom := s.browser("tom")
	tom.login("")
	attacks := []string{
		`' OR '1'='1`, `"; DROP TABLE sessions; --`, `needle' UNION SELECT signed FROM orders --`, `%' OR 1=1 --`, `needle) OR (session:theirs00`,
		`needle NEAR(a, 9999999)`, `words MATCH 'needle'`, `{needle theirs00} : needle`, `session : theirs00`, `needle OR theirs00`, "needle\x00theirs00",
		strings.Repeat("(", 1000), strings.Repeat(`"a" `, 250), strings.Repeat("a*", 400), strings.Repeat("(a|aa)+", 140), `^(a+)+$`, strings.Repeat("a ", 499) + "b",
		strings.Repeat("\u0301", 400), "*", `""`, strings.Repeat(`*"`, 300), "\xff\xfe",
	}
	for _, attack := range attacks {
		for _, path := range []string{
			"/search?q=", "/search?before=9&q=", "/sessions?resource=", "/sessions?repository=", "/sessions?run=", "/sessions?agent=", "/sessions?protocol=",
			"/sessions?before=", "/runs?before=", "/run?run=", "/approvals?state=", "/sessions?since=",
		} {
			status, page, took := tom.patient(path + url.QueryEscape(attack))
			if status >= 500 || took > 5*time.Second {
				t.Errorf("%s%q: %d after %v", path, attack, status, took)
			}
			echoed := strings.ReplaceAll(page, "theirs00", "")
			if strings.Contains(page, "acme/wiki") || !strings.Contains(attack, "theirs00") && len(echoed) != len(page) {
				t.Errorf("%s%q shows what is another team's", path, attack)
			}
		}
	}
	if _, page, _ := tom.patient("/search?q=needle"); !strings.Contains(page, "ours0000") {
		t.Error("nothing can be found any more")
	}
	if status, page, _ := tom.patient("/search?q=" + strings.Repeat("a", 2000)); status != http.StatusBadRequest {
		t.Errorf("a search of 2000 bytes: %d %.200s", status, page)
	}
}
