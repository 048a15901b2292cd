package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// FuzzUnderstoodRequestHidesNoWord looks for words that a server would find in a
// request and a rule would not: what is understood has each of its letters.
func FuzzUnderstoodRequestHidesNoWord(f *testing.F) {
	f.Add("/v1/a", "force=true", "application/json", []byte(`{"force":true}`))
	f.Add("/v1/%61", "f%6frce", "application/x-www-form-urlencoded", []byte("f%6frce=1"))
	f.Add("/", "", "", []byte(`{"\u0066orce":true}`))
	f.Fuzz(func(t *testing.T, path, query, media string, body []byte) {
		target, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") || strings.Contains(path, "?") {
			return
		}
		target.RawQuery = query
		r := &http.Request{Method: http.MethodPost, URL: target, Host: "a", Header: http.Header{"Content-Type": {media}}}
		s := newSession(&protocol.Conn{Masks: &mask.Set{}})
		op, err := s.classify(r, body)
		if err != nil || !op.Parsed {
			return
		}
		if values, err := url.ParseQuery(query); err == nil && values.Has("force") && !strings.Contains(op.HTTP.Query, "force") {
			t.Errorf("%q hides a word", query)
		}
		if !isJSON(media) {
			return
		}
		var document map[string]any
		if json.Unmarshal(body, &document) == nil && document["force"] != nil && !bytes.Contains(body, []byte("force")) {
			t.Errorf("%q hides a word", body)
		}
	})
}

// FuzzDocumentIsHiddenOrRefused has a value at a path in any document: what is
// shown does not have it.
func FuzzDocumentIsHiddenOrRefused(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, `[{"x":[]}]`, `{"email":null}`, "\xef\xbb\xbf{}", `{"a":{"email":"b"}}`} {
		f.Add([]byte(seed))
	}
	const secret = "canary-0123456789"
	s := newSession(&protocol.Conn{Masks: &mask.Set{Paths: []mask.Path{{Column: mask.Column{Method: mask.Redact}, Keys: []string{"email"}}}}})
	f.Fuzz(func(t *testing.T, rest []byte) {
		document := append(append([]byte(`[{"email":"`+secret+`"},`), rest...), ']')
		out, values, err := s.document(document)
		if err == nil && (bytes.Contains(out, []byte(secret)) && !bytes.Contains(rest, []byte(secret)) || values == 0) {
			t.Errorf("%q becomes %q", document, out)
		}
	})
}
