package siem_test

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/siem"
)

func TestFormatsAreWhatTheGoldenFilesSay(t *testing.T) {
	all := events(t)
	for _, format := range siem.Formats() {
		golden(t, "events."+string(format), written(t, format, all))
	}
}

func TestEveryRecordIsOneLine(t *testing.T) {
	all := events(t)
	chunks := 0
	for i := range all {
		if all[i].Header.Chunk != nil {
			chunks++
		}
	}
	for format, want := range map[siem.Format]int{siem.JSONLines: len(all), siem.OCSF: len(all) - chunks, siem.CEF: len(all) - chunks} {
		if got := bytes.Count(written(t, format, all), []byte("\n")); got != want {
			t.Errorf("%s: %d lines for %d records, want %d", format, got, len(all), want)
		}
	}
}

func TestHiddenTextIsInNoFormat(t *testing.T) {
	const secret = "canary-4711"
	all := events(t)
	for i := range all {
		all[i].Body = record.Body{Text: secret, Params: []record.Param{{Text: pointer(secret)}}, Extra: []byte(`"` + secret + `"`)}
		all[i].HideTexts()
	}
	for _, format := range siem.Formats() {
		if out := written(t, format, all); bytes.Contains(out, []byte(secret)) {
			t.Errorf("%s holds the text", format)
		} else if !bytes.Contains(out, []byte(`"sluice.body.hidden":true`)) && !bytes.Contains(out, []byte("flexString1=hidden")) {
			t.Errorf("%s does not say that the text is hidden", format)
		}
	}
}

func TestAnswersAreInJSONLinesOnly(t *testing.T) {
	all := events(t)
	for format, want := range map[siem.Format]bool{siem.JSONLines: true, siem.OCSF: false, siem.CEF: false} {
		if got := bytes.Contains(written(t, format, all), []byte("***")); got != want {
			t.Errorf("%s holds the answer: %v", format, got)
		}
	}
}

func TestSessionThatWasOpenedBeforeIsLookedUpOnce(t *testing.T) {
	asked := 0
	reader := siem.Reader{Lookup: func(agent, id string) (*session.Session, error) {
		asked++
		if agent != "node-1" || id != "s1" {
			t.Errorf("asked for %s of %s", id, agent)
		}
		return &session.Session{ID: id, Resource: "shop-db", Protocol: "postgres"}, nil
	}}
	for range 2 {
		all, err := reader.Events(outcomeOf(t, "s1"))
		check(t, err)
		if all[0].Session == nil || all[0].Session.Resource != "shop-db" {
			t.Errorf("the event's session is %v", all[0].Session)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestFailedLookupCanBeTriedAgain(t *testing.T) {
	broken := errors.New("away")
	reader := siem.Reader{Lookup: func(string, string) (*session.Session, error) { return nil, broken }}
	if _, err := reader.Events(outcomeOf(t, "s1")); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	broken = nil
	_, err := reader.Events(outcomeOf(t, "s1"))
	check(t, err)
}

func TestMemoryOfAReaderIsBounded(t *testing.T) {
	asked := 0
	reader := siem.Reader{Lookup: func(string, string) (*session.Session, error) { asked++; return nil, nil }}
	const many = 1<<14 + 100
	for i := range many {
		_, err := reader.Events(outcomeOf(t, "s"+strings.Repeat("x", i%50)+string(rune('0'+i/50%10))+string(rune(0x4e00+i/500))))
		check(t, err)
	}
	if asked != many {
		t.Fatalf("asked %d times, want %d", asked, many)
	}
	// Somebody was forgotten for the last ones, so asking everybody again asks.
	for i := range many {
		_, err := reader.Events(outcomeOf(t, "s"+strings.Repeat("x", i%50)+string(rune('0'+i/50%10))+string(rune(0x4e00+i/500))))
		check(t, err)
	}
	if asked == many {
		t.Error("nobody was forgotten")
	}
}

func TestUnknownFormatIsAnError(t *testing.T) {
	if _, err := siem.Format("leef").Append(nil, &siem.Event{}); err == nil {
		t.Error("it was written")
	}
}

func outcomeOf(t *testing.T, session string) siem.Batch {
	t.Helper()
	h := ended(session, 1, record.Outcome{Status: "ok"}, record.Body{}).header
	h.Time = began
	header, err := record.AppendHeader(nil, &h)
	check(t, err)
	return siem.Batch{Agent: "node-1", Entries: []record.Entry{{Header: header}}}
}

// TestEveryTypeOfRecordHasWords looks at the constants of pkg/record, so that a
// new type is not forgotten here.
func TestEveryTypeOfRecordHasWords(t *testing.T) {
	source, err := os.ReadFile("../record/record.go")
	check(t, err)
	types := regexp.MustCompile(`Type = "([a-z.]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(types) < 13 {
		t.Fatalf("found %v", types)
	}
	for _, m := range types {
		e := siem.Event{Agent: "node-1", Header: record.Header{Type: record.Type(m[1]), Time: began}}
		if text := string(e.AppendSyslog(nil)); m[1] != string(record.OperationChunk) && strings.Contains(text, "newer kind") {
			t.Errorf("%s has no words", m[1])
		}
	}
}
