package collector_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/config"
)

// witnessKey is the key of a witness that no test has the private half of.
const witnessKey = "witness.example+0080fed4+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

func TestWitnessThatCannotBeAskedIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		`witnesses: [{url: "https://w.example", key: "` + witnessKey + `"}]`:                                                        "",
		`witnesses: [{url: "w.example", key: "` + witnessKey + `"}]`:                                                                "c.yaml:1:19: witnesses[0].url:",
		`witnesses: [{url: "https://w.example", key: "w+1+x"}]`:                                                                     "witnesses[0].key:",
		`witnesses: [{url: "https://w.example", key: "` + witnessKey + `"}, {url: "https://v.example", key: "` + witnessKey + `"}]`: "witnesses[1].key:",
		`{origin: witness.example, witnesses: [{url: "https://w.example", key: "` + witnessKey + `"}]}`:                             "witnesses[0].key:",
	} {
		_, err := config.Parse[collector.Config]("c.yaml", []byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestWitnessIsAskedByTheCollector only looks at what is asked: the answers are
// the package cosign's matter.
func TestWitnessIsAskedByTheCollector(t *testing.T) {
	asked := make(chan string, 8)
	witness := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- r.Method + " " + r.URL.Path + "\n" + string(body)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer witness.Close()
	s := newSite(t)
	s.agent().runFor(t, "first000", "shop-db", "acme/shop", "SELECT 1")
	s.awaitSession("first000")
	s.stop()
	s.cfg.Witnesses = []collector.Witness{{URL: witness.URL + "/", Key: witnessKey}}
	s.start()
	select {
	case got := <-asked:
		if !strings.HasPrefix(got, "POST /add-checkpoint\nold 0\n\nsluice/test\n") {
			t.Errorf("it was asked\n%s", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it was not asked")
	}
	if status, _ := s.call(s.bootstrap, http.MethodGet, "/v1/log/cosigned", ""); status != http.StatusNotFound {
		t.Errorf("without cosignatures the answer is %d", status)
	}
}
