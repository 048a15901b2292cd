package record_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicegate/sluice/pkg/record"
)

// spaced is the same document in another form.
func spaced(data []byte) []byte { return append([]byte("{ "), data[1:]...) }

func FuzzTheFormOfAHeaderDoesNotChangeWhatItSays(f *testing.F) {
	for _, h := range headers() {
		encoded, err := record.AppendHeader(nil, &h)
		must(f, err)
		f.Add(encoded)
		f.Add(bytes.Replace(encoded, []byte(`"parsed":true`), []byte(`"parsed":false`), 1))
		f.Add(bytes.Replace(encoded, []byte(`,"`), []byte(`,"parent":1,"parent":2,"`), 1))
		for _, at := range []string{"2026-11-23T17:00:00Z", "2026-11-23T17:00:00.Z", "2026-11-23T17:00:00.1234567891Z", "2026-02-29T17:00:00.1Z", "2024-02-29T17:00:00.1Z", "2026-11-23T24:00:00Z", "2026-13-23T17:00:00Z", "2026-11-00T17:00:00Z", "2026-11-23t17:00:00Z", "2026-11-23T17:00:60Z", "2026-11-23T17:00:00+00:00", "2026-11-23T1 :00:00Z"} {
			f.Add(bytes.Replace(encoded, []byte("2026-11-23T17:00:00.123456789Z"), []byte(at), 1))
		}
		for _, no := range []string{"07", "-7", "18446744073709551615", "18446744073709551616", "99999999999999999999999", "7e0", ""} {
			f.Add(bytes.Replace(encoded, []byte(`"no":7`), []byte(`"no":`+no), 1))
			f.Add(bytes.Replace(encoded, []byte(`"mono_ns":99`), []byte(`"mono_ns":`+no), 1))
		}
		f.Add(bytes.Replace(encoded, []byte(`"mono_ns":99`), []byte(`"mono_ns":-9223372036854775808`), 1))
		f.Add(bytes.Replace(encoded, []byte(`"mono_ns":99`), []byte(`"mono_ns":9223372036854775808`), 1))
	}
	var reader record.BriefReader
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || data[0] != '{' || len(data) >= record.MaxHeader {
			return
		}
		asWritten, err := record.DecodeHeader(data)
		other, otherErr := record.DecodeHeader(spaced(data))
		if (err == nil) != (otherErr == nil) {
			t.Fatalf("%q: %v, and with a space: %v", data, err, otherErr)
		}
		if diff := cmp.Diff(asWritten, other, sameAddress); diff != "" {
			t.Errorf("%q (-as written +with a space):\n%s", data, diff)
		}
		brief, ok := new(record.BriefReader).Read(data)
		if ok {
			sameBrief(t, &brief, &other, otherErr)
		}
		again, okAgain := reader.Read(data) // whatever it has read before
		if diff := cmp.Diff(brief, again); ok != okAgain || ok && diff != "" {
			t.Errorf("%v, and then %v (-first +then):\n%s", ok, okAgain, diff)
		}
	})
}

func sameBrief(t *testing.T, b *record.Brief, h *record.Header, err error) {
	t.Helper()
	want := record.Brief{No: h.No, Type: h.Type, Time: h.Time, Session: []byte(h.Session), Denied: h.Denied(), Part: b.Part}
	if h.Intent != nil {
		want.Policy = []byte(h.Intent.Policy)
	}
	if h.Chunk != nil {
		want.Stream = []byte(h.Chunk.Stream)
	}
	if h.Outcome != nil {
		want.Masked = h.Outcome.Masked
	}
	if h.Outcome != nil && h.Outcome.Chunk != nil {
		want.Stream = []byte(h.Outcome.Chunk.Stream)
	}
	if diff := cmp.Diff(want, *b, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-whole +brief):\n%s", err, diff)
	}
}

func FuzzTheFormOfABodyDoesNotChangeWhatItSays(f *testing.F) {
	for _, b := range bodies() {
		encoded, err := record.AppendBody(nil, &b)
		must(f, err)
		f.Add(encoded)
	}
	for _, odd := range []string{
		`{"text":"a","text":"b"}`, `{"text":"","bytes":"AA=="}`, `{"bytes":"AB=="}`, `{"bytes":"A"}`, "{\"text\":\"\xff\"}",
		`{"params":[{"null":false}]}`, `{"params":[{"text":"a"},{"bytes":"AA=="},{"null":true}],"more":true}`, `{"params":[{"text":"a\nb"},{},{"text":"\\c"}]}`,
		`{"params":[{"text":"a","null":true}]}`, `{"bytes":""}`, `{"bytes":"AAAA===="}`, `{"bytes":"A==="}`, `{"text":"\\\n\t\r\""}`, `{"text":"\b"}`, `{"text":"\"}`, `{"text":"\`,
		`{"params":[]}`, `{"more":false}`, `{"more":1}`, `{"text":"a"}{}`, `{}`, `{`,
	} {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || data[0] != '{' || len(data) >= record.MaxBody {
			return
		}
		asWritten, err := record.DecodeBody(data)
		other, otherErr := record.DecodeBody(spaced(data))
		if valid := record.ValidBody(data); (err == nil) != (otherErr == nil) || valid != (err == nil) {
			t.Fatalf("%q: valid %v, %v, and with a space: %v", data, valid, err, otherErr)
		}
		if diff := cmp.Diff(asWritten, other); diff != "" {
			t.Errorf("%q (-as written +with a space):\n%s", data, diff)
		}
		var texts record.Texts
		if texts.Read(data) {
			sameTexts(t, &texts, &other, otherErr)
		}
	})
}

func sameTexts(t *testing.T, texts *record.Texts, b *record.Body, err error) {
	t.Helper()
	decoded, bad := base64.StdEncoding.DecodeString(string(texts.Base64))
	var params []string
	for _, p := range b.Params {
		if p.Text != nil {
			params = append(params, *p.Text)
		}
	}
	var got []string
	for _, p := range texts.Params {
		got = append(got, string(p))
	}
	if err != nil || bad != nil || string(texts.Text) != b.Text || !bytes.Equal(decoded, b.Bytes) || !slices.Equal(got, params) {
		t.Errorf("%v, %v: got %q, %q, %q of %+v", err, bad, texts.Text, decoded, got, b)
	}
}

func BenchmarkReadBrief(b *testing.B) {
	h := usual()
	encoded, err := record.AppendHeader(nil, &h)
	must(b, err)
	var reader record.BriefReader
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := reader.Read(encoded); !ok {
			b.Fatal("not read")
		}
	}
}
