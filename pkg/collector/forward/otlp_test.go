package forward_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/forward"
	"github.com/sluicegate/sluice/pkg/record"
)

func TestOpenTelemetryCollectorGetsOCSFOverTLS(t *testing.T) {
	certFile, keyFile, trusted := certificate(t)
	address := freeAddress(t)
	c := newOtelcol(t, "-listen", address, "-cert", certFile, "-key", keyFile)
	c.start()
	src := newSource(t)
	src.forward("lake", src.otlp("https://"+address, trusted), true)
	s := collectortest.NewSession(time.Now())
	denied := s.Denied("", "no-drops")
	denied[0].Body = &record.Body{Bytes: []byte("DROP TABLE \"orders\xff\"")}
	src.add(append([]collectortest.Record{s.Opened()}, denied...)...)

	open, intent, outcome := c.next(), c.next(), c.next()
	for name, event := range map[string]map[string]any{"session.opened": open, "operation.intent": intent, "operation.outcome": outcome} {
		if event["eventName"] != "sluice."+name {
			t.Errorf("event %v, want %s", event["eventName"], name)
		}
	}
	body := plain(intent["body"]).(map[string]any)
	query, _ := body["query_info"].(map[string]any)
	if body["class_uid"] != "6005" || body["disposition"] != "Blocked" || query["query_string"] != "DROP TABLE \"orders\uFFFD\"" {
		t.Errorf("the event is %v", body)
	}
	if intent["severityText"] != "Medium" || intent["severityNumber"] != 13.0 {
		t.Errorf("severity %v %v", intent["severityText"], intent["severityNumber"])
	}
}

func TestReceiverThatDiesAndComesBackMissesNothing(t *testing.T) {
	address := freeAddress(t)
	c := newOtelcol(t, "-listen", address)
	src := newSource(t)
	stop := src.forward("lake", src.otlp("http://"+address, nil), false)
	want := map[string]bool{}
	send := func() {
		s := collectortest.NewSession(time.Now())
		want[s.ID] = true
		src.add(s.Opened())
	}
	send() // nobody listens yet, and appending does not wait for it
	c.start()
	receive(c, want)
	c.kill()
	for range 20 {
		send()
	}
	await(t, "the loss is noticed", func() bool { return src.logs.FilterMessageSnippet("will be sent again").Len() > 1 })
	stop() // and the program is restarted meanwhile
	send()
	c.start()
	src.forward("lake", src.otlp("http://"+address, nil), false)
	receive(c, want)
}

// receive waits until every session of want has come.
func receive(c *otherCollector, want map[string]bool) {
	c.t.Helper()
	for len(want) > 0 {
		body := plain(c.next()["body"]).(map[string]any)
		delete(want, fmt.Sprint(body["metadata"].(map[string]any)["correlation_uid"]))
	}
}

// answering is a receiver that answers as the test says and keeps what it took.
func answering(t *testing.T, answer func(r *http.Request, texts string) int) (url string, taken *atomic.Int64) {
	t.Helper()
	taken = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		zip, err := gzip.NewReader(r.Body)
		check(t, err)
		raw, err := io.ReadAll(zip)
		check(t, err)
		var request v1.ExportLogsServiceRequest
		check(t, proto.Unmarshal(raw, &request))
		status := answer(r, request.String())
		w.WriteHeader(status)
		if status == http.StatusOK {
			taken.Add(int64(len(request.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords())))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, taken
}

func TestRecordThatIsRefusedForItsContentIsNarrowedDownAndLeftOut(t *testing.T) {
	src := newSource(t)
	s := collectortest.NewSession(time.Now())
	url, taken := answering(t, func(_ *http.Request, texts string) int {
		if strings.Contains(texts, "poison") {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	src.forward("lake", src.otlp(url, nil), true)
	records := []collectortest.Record{s.Opened()}
	for i := range 40 {
		text := "SELECT 1"
		if i == 17 {
			text = "SELECT 'poison'"
		}
		records = append(records, s.Query(text, "x", "1")...)
	}
	src.add(records...)
	await(t, "all others are taken", func() bool { return taken.Load() == 80 })
	refused := src.logs.FilterMessageSnippet("left out").All()
	if len(refused) != 1 || !strings.HasSuffix(refused[0].ContextMap()["record"].(string), "/35") { // the opening and 17 pairs stand before it
		t.Errorf("logged: %v", refused)
	}
}

func TestRefusedLoginLosesNothing(t *testing.T) {
	src := newSource(t)
	asked := 0
	url, taken := answering(t, func(r *http.Request, _ string) int {
		if asked++; asked == 1 {
			return http.StatusUnauthorized
		}
		if r.Header.Get("Authorization") != "Bearer abc" || r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s with %v", r.URL, r.Header)
		}
		return http.StatusOK
	})
	o, err := forward.NewOTLP(forward.OTLPConfig{URL: url, Header: http.Header{"Authorization": {"Bearer abc"}}, Log: src.log})
	check(t, err)
	src.forward("lake", o, true)
	src.add(collectortest.NewSession(time.Now()).Opened())
	await(t, "it is taken", func() bool { return taken.Load() == 1 })
}

func TestTextsStayUnlessTheConfigurationSaysSo(t *testing.T) {
	src := newSource(t)
	url, taken := answering(t, func(_ *http.Request, texts string) int {
		if strings.Contains(texts, "canary") {
			t.Errorf("the text was sent: %s", texts)
		}
		if !strings.Contains(texts, "sluice.body.hidden") {
			t.Errorf("nothing says that it is hidden: %s", texts)
		}
		return http.StatusOK
	})
	src.forward("lake", src.otlp(url, nil), false)
	s := collectortest.NewSession(time.Now())
	src.add(s.Query("SELECT 'canary'", "canary", "canary")...)
	await(t, "it is taken", func() bool { return taken.Load() == 2 })
}

func TestNewForwarderBeginsAtTheEndOfTheLog(t *testing.T) {
	src := newSource(t)
	old, fresh := collectortest.NewSession(time.Now()), collectortest.NewSession(time.Now())
	src.add(old.Opened())
	url, taken := answering(t, func(_ *http.Request, texts string) int {
		if strings.Contains(texts, old.ID) {
			t.Error("a record was sent that had been stored before")
		}
		return http.StatusOK
	})
	src.forward("lake", src.otlp(url, nil), false)
	src.add(fresh.Opened())
	await(t, "the new one is taken", func() bool { return taken.Load() == 1 })
}
