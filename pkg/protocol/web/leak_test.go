package web_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// canary is what no client may see, at customers.email and at email.
const canary = "canary@example.com"

// guarded masks by path, and what looks like a token anywhere.
func guarded(method mask.Method) func(*protocol.Conn) {
	return func(c *protocol.Conn) {
		c.Masks = &mask.Set{
			Paths: []mask.Path{
				{Column: mask.Column{Mask: "pii", Method: method}, Keys: []string{"customers", "email"}},
				{Column: mask.Column{Mask: "pii", Method: method}, Keys: []string{"email"}},
			},
			Detect: []mask.Detection{{Detector: mask.GitHubToken, Mask: "tokens", Method: mask.Redact}},
		}
	}
}

const detected = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"

func wide(text string) string {
	var out bytes.Buffer
	for _, unit := range utf16.Encode([]rune(text)) {
		out.Write([]byte{byte(unit), byte(unit >> 8)})
	}
	return out.String()
}

func zipped(text string) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return out.String()
}

// TestNoFormOfAnAnswerLeaks has servers say a masked value in every form that
// they have.
func TestNoFormOfAnAnswerLeaks(t *testing.T) {
	const js = "application/json"
	one := `{"email":"` + canary + `","id":1}`
	for name, test := range map[string]struct {
		status      int // of the server
		media, body string
		fields      []string
		want        int
		shows       string // of what is no secret
	}{
		"an object":            {200, js, one, nil, 200, `{"email":"[redacted]","id":1}`},
		"a list":               {200, js, "[" + one + ", " + one + "]", nil, 200, `[{"email":"[redacted]","id":1}, {"email":"[redacted]","id":1}]`},
		"below":                {200, js, `{"customers":[{"email":"` + canary + `"}],"n":2}`, nil, 200, `"n":2`},
		"an object as a value": {200, js, `{"email":{"a":["` + canary + `"]},"id":1}`, nil, 200, `{"email":"[redacted]","id":1}`},
		"a key that is twice":  {200, js, `{"email":"x","email":"` + canary + `"}`, nil, 200, `"[redacted]"`},
		"a key in disguise":    {200, js, `{"\u0065mail":"` + canary + `"}`, nil, 200, `"[redacted]"`},
		"a mark before it":     {200, js, "\xef\xbb\xbf" + one, nil, 200, `"[redacted]"`},
		"a kind of its own":    {200, "application/vnd.shop.v1+json; charset=utf-8", one, nil, 200, `"[redacted]"`},
		"lines":                {200, "application/x-ndjson", one + "\n" + one + "\n", nil, 200, "{\"email\":\"[redacted]\",\"id\":1}\n"},
		"half a line":          {200, "application/x-ndjson", one + "\n" + one[:len(one)-3], nil, 200, "{\"email\":\"[redacted]\",\"id\":1}\n"},
		"an error":             {422, js, one, nil, 422, `"[redacted]"`},
		"a huge number":        {200, js, `{"n":1e999999,"m":` + strings.Repeat("9", 5000) + `,"email":"` + canary + `"}`, nil, 200, `"[redacted]"`},
		"a token beside it":    {200, js, `{"note":"` + detected + `"}`, nil, 200, `{"note":"[redacted]"}`},
		"nothing":              {200, js, "", nil, 200, ""},
		"nothing to hide":      {200, js, `{"id":1}`, nil, 200, `{"id":1}`},

		"broken JSON":         {200, js, one[:len(one)-1], nil, 502, ""},
		"two documents":       {200, js, one + one, nil, 502, ""},
		"a comment":           {200, js, "// x\n" + one, nil, 502, ""},
		"a guard before it":   {200, js, ")]}',\n" + one, nil, 502, ""},
		"single quotes":       {200, js, `{'email':'` + canary + `'}`, nil, 502, ""},
		"too deep":            {200, js, strings.Repeat("[", 10000) + one + strings.Repeat("]", 10000), nil, 502, ""},
		"wide letters":        {200, js + "; charset=utf-16le", wide(one), nil, 502, ""},
		"wide and unsaid":     {200, js, wide(one), nil, 502, ""},
		"compressed":          {200, js, zipped(one), []string{"Content-Encoding: gzip"}, 502, ""},
		"compressed, unsaid":  {200, js, zipped(one), nil, 502, ""},
		"a text":              {200, "text/plain", one, nil, 502, ""},
		"a page":              {200, "text/html", "<b>" + canary, nil, 502, ""},
		"a table":             {200, "text/csv", "email\n" + canary, nil, 502, ""},
		"YAML":                {200, "application/yaml", "email: " + canary, nil, 502, ""},
		"a file":              {200, "application/octet-stream", one, nil, 502, ""},
		"events":              {200, "text/event-stream", "data: " + one + "\n\n", nil, 502, ""},
		"two kinds":           {200, js, one, []string{"Content-Type: text/plain"}, 502, ""},
		"no kind that is one": {200, "json", one, nil, 502, ""},
		"a part":              {206, js, one, []string{"Content-Range: bytes 0-9/10"}, 502, ""},
		"parts":               {200, "multipart/byteranges; boundary=x", one, nil, 502, ""},

		"not found":  {404, "text/html", "no " + canary, nil, 404, ""},
		"a redirect": {302, "text/html", "to " + canary, []string{"Location: /elsewhere"}, 302, ""},
		"a failure":  {500, "text/plain", canary, nil, 500, ""},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, http2 bool) {
				w := serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", test.media)
					w.Header().Set("Etag", `"`+canary+`"`)
					w.Header().Set("X-Seen", detected)
					for _, field := range test.fields {
						name, value, _ := strings.Cut(field, ": ")
						w.Header().Add(name, value)
					}
					w.WriteHeader(test.status)
					for i := range len(test.body) { // in pieces
						_, _ = w.Write([]byte(test.body[i : i+1]))
						if i%7 == 0 && i < 200 {
							w.(http.Flusher).Flush()
						}
					}
				}, guarded(mask.Redact))
				for _, method := range []string{"GET", "HEAD", "POST"} {
					got := do(t, w.client(t, http2), method, "/v1/customers", "", "Range: bytes=2-9", "Accept: text/csv")
					seen := got.body + fmt.Sprint(got.header)
					if strings.Contains(seen, canary) || strings.Contains(seen, detected) || strings.Contains(seen, wide(canary)) {
						t.Errorf("%s: the client saw %q", method, seen)
					}
					broken := name == "half a line" // which must not look like an end
					if got.status != test.want && method != "HEAD" || broken != (got.err != nil) && method != "HEAD" {
						t.Errorf("%s: %d %v %.200q", method, got.status, got.err, got.body)
					}
					if method != "HEAD" && test.shows != "" && !strings.Contains(got.body, test.shows) {
						t.Errorf("%s: %.300q does not show %q", method, got.body, test.shows)
					}
				}
				w.nowhere(t, canary, detected, wide(canary))
				for _, r := range w.requests() {
					if r.Header.Get("Accept") != "application/json" || r.Header.Get("Range") != "" {
						t.Errorf("the server was asked for %v", r.Header)
					}
				}
			})
		})
	}
}

func TestEachMethodHidesAsItSays(t *testing.T) {
	for method, want := range map[mask.Method]string{
		mask.Redact: `{"email":"[redacted]","id":1}`, mask.Null: `{"email":null,"id":1}`, mask.Partial: `{"email":"********.com","id":1}`,
	} {
		w := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"email":"` + canary + `","id":1}`))
		}, guarded(method))
		if got := do(t, w.client(t, true), "GET", "/", ""); got.body != want {
			t.Errorf("%s: %q", method, got.body)
		}
		if e := w.journal.Requests()[0]; e.Outcome.Masked != 1 {
			t.Errorf("%s: %d values", method, e.Outcome.Masked)
		}
	}
}

// TestQueriesThatRenameAreRefused: GraphQL's answers have the names that the job
// gives.
func TestQueriesThatRenameAreRefused(t *testing.T) {
	w := serve(t, echo, guarded(mask.Redact))
	client := w.client(t, true)
	const js = "Content-Type: application/json"
	for _, test := range []struct {
		target, body, media string
		want                int
	}{
		{"/graphql", `{"query":"{ customers { a: email } }"}`, js, 403},
		{"/anything", `{"query":"{ customers { a: email } }"}`, "Content-Type: text/plain", 403},
		{"/anything", `[{"query":"query Q { a: email }"}]`, js, 403},
		{"/anything", `{"Query":"\u007b a: email }"}`, js, 403},
		{"/anything", `{"query":"x","query":"{ a: email }"}`, js, 403},
		{"/anything", `{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}`, js, 403},
		{"/anything", `{ a: email }`, "Content-Type: application/graphql", 403},
		{"/anything?query=%7B+a:email+%7D", "", js, 403},
		{"/anything?query={a:email}", "", js, 403},
		{"/anything", "query=%7B+a:email+%7D", "Content-Type: application/x-www-form-urlencoded", 403},
		{"/search?query=ada", "", js, 502}, // which answers in text
		{"/search", `{"query":"ada"}`, js, 502},
		{"/search", `{"query":{"term":{"a":"b"}}}`, js, 502},
	} {
		if got := do(t, client, "POST", test.target, test.body, test.media); got.status != test.want {
			t.Errorf("%s %s: %+v", test.target, test.body, got)
		}
	}
}

// TestWhatAJobWritesIsSealedWhereItIsMasked while the server gets it, and an
// approval binds it.
func TestWhatAJobWritesIsSealedWhereItIsMasked(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, guarded(mask.Redact))
	client := w.client(t, true)
	for _, body := range []string{`{"email":"` + canary + `","id":7}`, `[{"email":"` + canary + `"}]`, strings.Repeat("[", 600) + `{"email":"` + canary + `"}` + strings.Repeat("]", 600), "\xef\xbb\xbf{\"email\":\"" + canary + `"}`} {
		before := len(w.journal.Requests())
		if got := do(t, client, "POST", "/v1/customers", body, "Content-Type: application/json"); got.status != 204 {
			t.Errorf("%+v", got)
		}
		e := w.journal.Requests()[before]
		if !bytes.Contains(e.Op.Bytes, []byte(canary)) || !strings.Contains(e.Text, "POST /v1/customers\nHost: ") {
			t.Errorf("%q", e.Text)
		}
	}
	w.nowhere(t, canary)
}

// TestDetectorsLookAtEveryKindOfAnswer where no path is masked.
func TestDetectorsLookAtEveryKindOfAnswer(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		var media string
		w := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			for piece := range strings.SplitSeq(`{"x":"before `+detected[:9]+"|"+detected[9:]+` after"}`, "|") {
				_, _ = w.Write([]byte(piece))
				w.(http.Flusher).Flush()
			}
		}, func(c *protocol.Conn) {
			c.Masks = &mask.Set{Detect: []mask.Detection{{Detector: mask.GitHubToken, Mask: "tokens", Method: mask.Redact}}}
		})
		client := w.client(t, http2)
		for _, media = range []string{"application/json", "text/plain", "text/html", "text/event-stream", "application/octet-stream", "", "nonsense"} {
			if got := do(t, client, "GET", "/", ""); got.err != nil || got.body != `{"x":"before [redacted] after"}` {
				t.Errorf("%s: %+v", media, got)
			}
		}
		media = "text/plain; charset=utf-16"
		if got := do(t, client, "GET", "/", ""); got.status != 502 {
			t.Errorf("%+v", got)
		}
		w.nowhere(t, detected)
	})
}
