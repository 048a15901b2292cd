package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/httpproxy"
)

// bom is the mark that some programs put before a text in UTF-8.
var bom = []byte("\xef\xbb\xbf")

// form is the media type of HTML's forms.
const form = "application/x-www-form-urlencoded"

// isJSON reports whether documents of a media type are JSON (RFC 8259, RFC 6839).
func isJSON(media string) bool {
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// isSequence reports whether a media type is of JSON documents, one a line.
func isSequence(media string) bool {
	return slices.Contains([]string{"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines"}, media)
}

// looksLikeJSON reports whether a server that guesses would read a body as JSON.
func looksLikeJSON(body []byte) bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(body, bom), " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

// isASCII reports whether a text's letters are those of ASCII in a character
// set; "" is UTF-8.
func isASCII(charset string) bool {
	charset = strings.ToLower(charset)
	return slices.Contains([]string{"", "utf-8", "utf8", "us-ascii", "ascii"}, charset) || strings.HasPrefix(charset, "iso-8859-") ||
		strings.HasPrefix(charset, "windows-125")
}

// plainBody reports whether what a rule looks for in a body stands there in its
// own letters: JSON and forms can write each in another way. Files are what
// they are.
func plainBody(media, charset string, body []byte) bool {
	switch {
	case len(body) == 0:
		return true
	case !isASCII(charset):
		return false
	case isJSON(media) && !json.Valid(bytes.TrimPrefix(body, bom)):
		return false
	case isJSON(media) || isSequence(media) || looksLikeJSON(body):
		return utf8.Valid(body) && !disguised(body)
	case media == form || media == "" && utf8.Valid(body):
		return httpproxy.ReadQuery(string(body))
	}
	return true
}

// disguised reports whether a JSON text escapes a letter that no encoder does.
func disguised(text []byte) bool {
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 || at+1 >= len(text) {
			return false
		}
		if text[at+1] != 'u' || at+6 > len(text) {
			text = text[at+2:]
			continue
		}
		code := bytes.ToLower(text[at+2 : at+6])
		if bytes.HasPrefix(code, []byte("00")) && code[2] >= '2' && code[2] <= '7' && !slices.Contains(encoded, string(code[2:])) {
			return true
		}
		text = text[at+6:]
	}
}

// encoded are the ASCII characters that encoders escape although they need not:
// those that mean something in HTML, in shells' and JavaScript's strings, and
// DEL.
var encoded = []string{"22", "26", "27", "2b", "2f", "3c", "3d", "3e", "5c", "60", "7f"}

// overrides reports whether a body or a query may have frameworks take another
// method for a request's own.
func overrides(r *http.Request, media string, body []byte) bool {
	const field = "_method"
	return strings.Contains(r.URL.RawQuery, field) || mayOverride(media) && bytes.Contains(body, []byte(field))
}

// mayOverride reports whether frameworks look for another method in a body.
func mayOverride(media string) bool {
	return media == form || media == "" || strings.HasPrefix(media, "multipart/")
}

// renames reports whether a request is a query of GraphQL, whose answer has the
// names that it gives (GraphQL specification, "Field alias").
func renames(r *http.Request, media string, body []byte) bool {
	if strings.HasPrefix(media, "application/graphql") {
		return true
	}
	query := r.URL.Query()
	if query.Has("query") && strings.Contains(query.Get("query"), "{") || query.Has("extensions") {
		return true
	}
	if media == form || strings.HasPrefix(media, "multipart/") {
		return bytes.Contains(body, []byte("query")) && (bytes.Contains(body, []byte("{")) || bytes.Contains(body, []byte("%7")))
	}
	if !looksLikeJSON(body) {
		return false
	}
	body = bytes.TrimPrefix(body, bom)
	var many []json.RawMessage // which servers take at once
	if json.Unmarshal(body, &many) != nil {
		many = []json.RawMessage{body}
	}
	return !json.Valid(body) || slices.ContainsFunc(many, func(document json.RawMessage) bool {
		var one asked
		return json.Unmarshal(document, &one) == nil && one.renames()
	})
}

// asked is what a query of GraphQL has in JSON. Its keys are compared without
// regard to case here, which is more than it takes.
type asked struct {
	Query      json.RawMessage
	Extensions json.RawMessage // of a query that the server knows by its hash
	DocumentID json.RawMessage `json:"documentId"`
}

func (a asked) renames() bool {
	return bytes.ContainsAny(a.Query, "{\\") && bytes.HasPrefix(a.Query, []byte(`"`)) || a.Extensions != nil || a.DocumentID != nil
}
