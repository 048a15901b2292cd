package record_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func header(kind record.Type) record.Header {
	return record.Header{
		No: 7, Type: kind, Time: time.Date(2026, 11, 23, 17, 0, 0, 123456789, time.UTC),
		Mono: 99, Session: "abc", Operation: 3, Parent: 2,
	}
}

// headers holds one header of each type, every field set.
func headers() map[string]record.Header {
	all := map[string]record.Header{}
	h := header(record.AgentStarted)
	h.Agent = &record.Agent{Version: "1", Host: "h", Policy: "p"}
	all["agent"] = h
	h = header(record.PersonActed)
	h.Person = &record.Person{Act: "search", Name: "ada@example.com", Issuer: "https://login.example", Subject: "ada", From: "192.0.2.7"}
	all["person"] = h
	h = header(record.AgentAlert)
	h.Alert = &record.Alert{Kind: "no-record", Destination: "192.0.2.1:5432", Count: 3, Detail: "<&>"}
	all["alert"] = h
	h = header(record.AgentOrder)
	h.Order = &record.Order{ID: "id", Kind: "kill", Session: "s", Container: "c", Run: "r", Lifts: "l", By: "ada", Reason: "it digs"}
	all["order"] = h
	h = header(record.SessionOpened)
	h.Opened = &session.Session{
		ID: "abc", Resource: "shop-db", Protocol: "postgres", Started: h.Time, Destination: netip.MustParseAddrPort("192.0.2.1:5432"),
		Workload: workload.Workload{
			Assurance: workload.Verified,
			Orch:      workload.OrchFacts{Labels: map[string]string{"App": "1", "app": "2"}},
			Verified:  map[string]any{"sub": "repo:x", "nested": map[string]any{"Key": "v"}},
			Claimed:   workload.Claims{Env: map[string]string{"CI": "true", "ci": "x"}},
		},
	}
	all["opened"] = h
	h = header(record.SessionClosed)
	h.Closed = &record.Closed{Records: 1, Operations: 2, Denied: 3, Held: 4, Masked: 5, Reason: "client"}
	all["closed"] = h
	h = header(record.OperationIntent)
	h.Intent = &record.Intent{
		Kind: "statement", Parsed: true, ReadOnly: true, Database: "shop", Role: "app", Effect: "allow", Rule: "r", Reason: "why \"so\"\n", Policy: "p",
		Approval: 9, Decider: "ada", Observed: true,
		Statements: []record.Statement{{Kind: "SELECT", Class: "read", Relations: []string{"a", "b.c"}}, {Kind: "SET", Class: "session"}},
	}
	all["intent"] = h
	h.Intent = &record.Intent{
		SSH: &record.SSH{Type: "sftp", Programs: []string{"<&>"}, Action: "rename", Path: "/a", NewPath: "/b"},
		Git: &record.Git{Repository: "/r.git", Options: []string{"ci.skip"}, Refs: []record.GitRef{
			{Name: "refs/heads/main", Kind: "update", Old: "1", New: "2", Forced: "true", Lost: []string{"3"}},
		}},
	}
	all["intent of a host and a repository"] = h
	h.Intent = &record.Intent{
		Kube: &record.Kube{Verb: "patch", Group: "apps", Version: "v1", Resource: "deployments", Subresource: "scale", Namespace: "shop", Name: "<web>", Container: "c", DryRun: true, Port: 80},
		HTTP: &record.HTTP{Method: "PATCH", Host: "kube.lab", Path: "/apis/apps/v1/\u2028", Streamed: true, Form: true},
	}
	all["intent of a cluster"] = h
	h = header(record.OperationChunk)
	h.Chunk = &record.Chunk{Stream: "response", At: 5, Size: 6, Digest: "d"}
	all["chunk"] = h
	h = header(record.OperationOutcome)
	h.Outcome = &record.Outcome{Status: "ok", Code: "00000", Tag: "SELECT 1", Rows: 1, Masked: 2, Rule: "m", Denied: true, Duration: 3, Response: 4, Digest: "d", Chunk: &record.Chunk{Stream: "response", At: 5, Size: 6, Digest: "e"}}
	all["outcome"] = h
	h = header(record.ApprovalSettled)
	h.Approval = &record.Approval{ID: "id", Number: 1, Rule: "r", State: "approved", Approver: "ada", Reason: "ok"}
	all["approval"] = h
	for name, empty := range map[string]record.Header{
		"empty intent":                {Type: record.OperationIntent, Intent: &record.Intent{}},
		"empty outcome":               {Type: record.OperationOutcome, Outcome: &record.Outcome{}},
		"outcome with an empty chunk": {Type: record.OperationOutcome, Outcome: &record.Outcome{Chunk: &record.Chunk{}}},
		"empty chunk":                 {Type: record.OperationChunk, Chunk: &record.Chunk{}},
	} {
		empty.Time = h.Time
		all[name] = empty
	}
	return all
}

var (
	sameTime    = cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	sameAddress = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
)

func TestHeaderReadsBackAsItWas(t *testing.T) {
	for name, h := range headers() {
		encoded, err := record.AppendHeader(nil, &h)
		must(t, err)
		got, err := record.DecodeHeader(encoded)
		if err != nil {
			t.Errorf("%s: %v in %s", name, err, encoded)
			continue
		}
		if diff := cmp.Diff(h, got, sameTime, sameAddress); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		// The hand-written encoding says what encoding/json would say.
		var byHand, byJSON any
		must(t, json.Unmarshal(encoded, &byHand))
		standard, err := json.Marshal(h)
		must(t, err)
		must(t, json.Unmarshal(standard, &byJSON))
		if diff := cmp.Diff(byJSON, byHand); diff != "" {
			t.Errorf("%s (-json +hand):\n%s", name, diff)
		}
	}
}

func text(s string) *string { return &s }

func bodies() map[string]record.Body {
	return map[string]record.Body{
		"empty":    {},
		"text":     {Text: "SELECT 'a\\b' -- é \u2028 \x00\x1f\x7f \U0001F600"},
		"bytes":    {Bytes: []byte{0, 255}, More: true},
		"params":   {Text: "x", Params: []record.Param{{}, {Null: true}, {Text: text("")}, {Bytes: []byte{1}}, {Sealed: "hmac-sha256:00", Length: 3}}},
		"approval": {Extra: json.RawMessage(`{"payloadType":"x","PayloadType":"y","a":{"B":[1,2,{"C":"}"}]}}`)},
		"more":     {More: true},
	}
}

func TestBodyReadsBackAsItWas(t *testing.T) {
	for name, b := range bodies() {
		encoded, err := record.AppendBody(nil, &b)
		must(t, err)
		got, err := record.DecodeBody(encoded)
		if err != nil {
			t.Errorf("%s: %v in %s", name, err, encoded)
			continue
		}
		if diff := cmp.Diff(b, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if encoded, _ := record.AppendBody([]byte("before"), &record.Body{}); string(encoded) != "before" {
		t.Errorf("an empty body is %q", encoded)
	}
	if _, err := record.AppendBody(nil, &record.Body{Extra: json.RawMessage(`{"a":`)}); err == nil {
		t.Error("extra that is not JSON was encoded")
	}
}

func TestBytesThatAreNotUTF8DoNotBreakTheEncoding(t *testing.T) {
	encoded, err := record.AppendBody(nil, &record.Body{Text: "a\xffb\xc3"})
	must(t, err)
	got, err := record.DecodeBody(encoded)
	must(t, err)
	if got.Text != "a\ufffdb\ufffd" {
		t.Errorf("got %q", got.Text)
	}
}

func TestAmbiguousRecordsAreRefused(t *testing.T) {
	good, err := record.AppendHeader(nil, ptr(headers()["intent"]))
	must(t, err)
	opened, err := record.AppendHeader(nil, ptr(headers()["opened"]))
	must(t, err)
	cases := map[string]string{
		"trailing data":       string(good) + "{}",
		"trailing word":       string(good) + " x",
		"key twice":           strings.Replace(string(good), `"no":7`, `"no":7,"no":8`, 1),
		"key in another case": strings.Replace(string(good), `"no":7`, `"no":7,"No":8`, 1),
		"key escaped":         strings.Replace(string(good), `"no":7`, `"no":7,"\u006eo":8`, 1),
		"inner key twice":     strings.Replace(string(good), `"rule":"r"`, `"rule":"r","rule":"s"`, 1),
		"label twice":         strings.Replace(string(opened), `"app":"2"`, `"app":"2","\u0061pp":"3"`, 1),
		"two parts":           strings.Replace(string(good), `"intent":`, `"chunk":{"stream":"x","at_ns":0,"size":0},"intent":`, 1),
		"another type":        strings.Replace(string(good), `operation.intent`, `operation.outcome`, 1),
		"no type":             strings.Replace(string(good), `operation.intent`, ``, 1),
		"not an object":       `[]`,
		"nothing":             ``,
		"not UTF-8":           strings.Replace(string(good), `shop`, "sh\xffp", 1),
		"white space before":  " " + string(good),
		"number out of range": strings.Replace(string(good), `"no":7`, `"no":-7`, 1),
		"too large":           strings.Replace(string(good), `shop`, strings.Repeat("s", record.MaxHeader), 1),
		"too deep":            strings.Replace(string(good), `"no":7`, `"no":7,"x":`+strings.Repeat(`[`, 99)+strings.Repeat(`]`, 99), 1),
	}
	for name, encoded := range cases {
		if h, err := record.DecodeHeader([]byte(encoded)); err == nil {
			t.Errorf("%s: read as %+v", name, h)
		}
	}
	unknown := strings.Replace(string(good), `"no":7`, `"no":7,"new_field":{"a":[1,"x"]}`, 1)
	if _, err := record.DecodeHeader([]byte(unknown)); err != nil {
		t.Errorf("an unknown field is refused: %v", err)
	}
	if _, err := record.DecodeBody([]byte(`{"text":"a","text":"b"}`)); err == nil {
		t.Error("a body with a key twice was read")
	}
}

func ptr[T any](v T) *T { return &v }

func FuzzDecodeHeader(f *testing.F) {
	for _, h := range headers() {
		encoded, err := record.AppendHeader(nil, &h)
		must(f, err)
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := record.DecodeHeader(data)
		if err != nil || h.Time.Year() < 1970 || h.Time.Year() > 9999 {
			return
		}
		encoded, err := record.AppendHeader(nil, &h)
		if err != nil || len(encoded) > record.MaxHeader {
			return
		}
		again, err := record.DecodeHeader(encoded)
		if err != nil {
			t.Fatalf("%s does not read back: %v", encoded, err)
		}
		if diff := cmp.Diff(h.Intent, again.Intent); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

func FuzzDecodeBody(f *testing.F) {
	for _, b := range bodies() {
		encoded, err := record.AppendBody(nil, &b)
		must(f, err)
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := record.DecodeBody(data)
		if err != nil {
			return
		}
		encoded, err := record.AppendBody(nil, &b)
		must(t, err)
		if len(encoded) > record.MaxBody {
			return
		}
		if _, err := record.DecodeBody(encoded); err != nil {
			t.Fatalf("%s does not read back: %v", encoded, err)
		}
	})
}

func FuzzAppendBody(f *testing.F) {
	f.Add("SELECT 1", []byte("x"))
	f.Fuzz(func(t *testing.T, s string, raw []byte) {
		want := record.Body{Text: strings.ToValidUTF8(s, "\ufffd"), Bytes: raw}
		if len(raw) == 0 {
			want.Bytes = nil
		}
		encoded, err := record.AppendBody(nil, &record.Body{Text: s, Bytes: raw})
		must(t, err)
		got, err := record.DecodeBody(encoded)
		if len(encoded) > record.MaxBody {
			return
		}
		must(t, err)
		if string(got.Bytes) != string(want.Bytes) || len([]rune(got.Text)) != len([]rune(s)) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// A request is encoded where it stands as it would be from a copy.
func FuzzAppendRequest(f *testing.F) {
	f.Add([]byte("SELECT 1"), []byte("x"), []byte(nil), false, false)
	f.Add([]byte(nil), []byte(nil), []byte("\x00"), true, false)
	f.Add([]byte("é\xff"), []byte("\n\"\\"), []byte("\xff"), false, true)
	f.Fuzz(func(t *testing.T, text, first, second []byte, binary, sealed bool) {
		params := []operation.Param{{Text: first}, {Text: second, Binary: binary, Sealed: sealed}, {}}
		params = params[:len(text)%4]
		got, ok := record.AppendRequest([]byte("before"), text, params, 1000)
		plain := utf8.Valid(text)
		want := record.Body{Text: string(text)}
		for _, p := range params {
			if p.Text == nil {
				want.Params = append(want.Params, record.Param{Null: true})
				continue
			}
			plain = plain && utf8.Valid(p.Text) && !(p.Binary && len(p.Text) > 0) && !p.Sealed
			value := string(p.Text)
			want.Params = append(want.Params, record.Param{Text: &value})
		}
		if plain = plain && len(text)+len(first)+len(second) < 500; !plain {
			return
		}
		encoded, err := record.AppendBody([]byte("before"), &want)
		must(t, err)
		if !ok || string(got) != string(encoded) {
			t.Errorf("%v: got %s, want %s", ok, got, encoded)
		}
	})
}

func TestARequestThatMustNotBeKeptIsNotEncoded(t *testing.T) {
	for name, p := range map[string]operation.Param{
		"sealed": {Text: operation.Text("x"), Sealed: true}, "binary": {Text: operation.Text("x"), Binary: true},
		"no text": {Text: operation.Text("\xff")}, "large": {Text: operation.Text(strings.Repeat("x", 1000))},
	} {
		if got, ok := record.AppendRequest([]byte("before"), operation.Text("q"), []operation.Param{p}, 1000); ok || string(got) != "before" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// usual is the header of most operations.
func usual() record.Header {
	h := headers()["intent"]
	h.Intent.Reason, h.Intent.Decider, h.Intent.Approval = "", "", 0
	h.Intent.Statements = h.Intent.Statements[:1]
	return h
}

func BenchmarkAppendHeader(b *testing.B) {
	h := usual()
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer, _ = record.AppendHeader(buffer[:0], &h)
	}
}

func BenchmarkDecodeHeader(b *testing.B) {
	h := usual()
	encoded, err := record.AppendHeader(nil, &h)
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.DecodeHeader(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
