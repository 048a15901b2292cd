package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
)

func TestRecordsAreExportedAsEvents(t *testing.T) {
	d := newDesk(t)
	s := collectortest.NewSession(time.Now())
	d.send(s.ID, append(append([]collectortest.Record{s.Opened()}, s.Query("SELECT 'a|b=c'", "x", "answered")...), s.Closed())...)
	d.sluice(0, "export", "--session", s.ID, "-o", d.path("bundle"))
	d.sluice(0, "verify", d.path("bundle"))
	for format, want := range map[string]string{
		"jsonl": `"db.query.text":"SELECT 'a|b=c'"`,
		"ocsf":  `"query_string":"SELECT 'a|b=c'"`,
		"cef":   `msg=SELECT 'a|b\=c'`,
	} {
		d.sluice(0, "export", "--session", s.ID, "--format", format, "-o", d.path("live."+format))
		live := d.read("live." + format)
		if strings.Count(live, "\n") != 3 || !strings.Contains(live, want) {
			t.Errorf("%s:\n%s", format, live)
		}
		if offline := d.sluice(0, "export", "--bundle", d.path("bundle"), "--format", format, "-o", "-"); strings.TrimSpace(offline) != live {
			t.Errorf("%s of the bundle:\n%s\nof the collector:\n%s", format, offline, live)
		}
	}
}

func TestEventOfASessionOpenedBeforeSaysWhose(t *testing.T) {
	d := newDesk(t)
	s := collectortest.NewSession(time.Now())
	d.send(s.ID, s.Opened())
	between := time.Now()
	d.send(s.ID, s.Denied("DROP TABLE orders", "no-drops")...)
	await(t, "the second batch is there", func() bool {
		return strings.Contains(d.sluice(0, "show", s.ID), "DROP TABLE")
	})
	out := d.sluice(0, "export", "--since", between.Format(time.RFC3339Nano), "--format", "ocsf", "-o", "-")
	found := false
	for line := range strings.Lines(out) {
		var event struct {
			Class    string `json:"class_name"`
			Status   string `json:"disposition"`
			Endpoint struct {
				Resource string `json:"svc_name"`
			} `json:"dst_endpoint"`
			Metadata struct {
				Code string `json:"event_code"`
			} `json:"metadata"`
		}
		check(t, json.Unmarshal([]byte(line), &event))
		if event.Metadata.Code == "operation.intent" {
			found = event.Class == "Datastore Activity" && event.Status == "Blocked" && event.Endpoint.Resource == "shop-db"
		}
	}
	if !found {
		t.Errorf("no such event in\n%s", out)
	}
}

func TestExportThatMakesNoSenseIsRefused(t *testing.T) {
	d := &desk{t: t, dir: t.TempDir()}
	d.config = d.path("config.yaml")
	d.write("config.yaml", "collector: http://127.0.0.1:1\n")
	for _, args := range [][]string{
		{"--session", "x"},
		{"-o", d.path("out")},
		{"--session", "x", "--bundle", "y", "--format", "cef", "-o", d.path("out")},
		{"--bundle", d.path("none"), "-o", d.path("out")},
		{"--bundle", d.path("none"), "--format", "leef", "-o", d.path("out")},
		{"--bundle", d.path("none"), "--format", "cef", "-o", "-"},
		{"--asciicast", "x", "--format", "cef", "-o", d.path("out")},
	} {
		d.sluice(2, append([]string{"export"}, args...)...)
	}
	if _, err := os.Stat(d.path("out")); err == nil {
		t.Error("a file was made")
	}
}
