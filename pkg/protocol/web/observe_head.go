package web

import (
	"bufio"
	"bytes"
	"net/http"
	"regexp"
	"slices"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
)

// How the first line of a message is, as far as it has come (RFC 9112, section
// 3 and 4). A peer that says something else may wait for an answer, so that it is
// known before its head is whole.
var (
	beginsRequest  = regexp.MustCompile(`^[A-Z]+( [^ ]*( (H|HT|HTT|HTTP|HTTP/|HTTP/1|HTTP/1\.|HTTP/1\.[01]\r?)?)?)?$`)
	beginsResponse = regexp.MustCompile(`^(H|HT|HTT|HTTP|HTTP/|HTTP/1|HTTP/1\.|HTTP/1\.[01].*)$`)
	requestLine    = regexp.MustCompile(`^[A-Z]+ [^ ]+ HTTP/1\.[01]\r$`)
)

// endOfHead is how long the head of a message is, with its empty line; 0: it is
// not whole. It reports false where that is no head, or too large.
func endOfHead(b []byte, begins *regexp.Regexp) (size int, ok bool) {
	line, rest, more := bytes.Cut(b[:min(len(b), maxHead)], []byte("\n"))
	if !begins.Match(line) || more && begins == beginsRequest && !requestLine.Match(line) {
		return 0, false
	}
	at := len(line) + 1
	for more {
		line, rest, more = bytes.Cut(rest, []byte("\n"))
		at += len(line) + 1
		switch {
		case !more:
		case !bytes.HasSuffix(line, []byte("\r")): // some take it for the end of a line
			return 0, false
		case len(line) == 1:
			return at, true
		}
	}
	return 0, len(b) < maxHead
}

// readRequest reads the head of a request and how its body is framed; nil where
// servers may read it in several ways.
func readRequest(head []byte) (*http.Request, body) {
	if len(head) == 0 || twiceFramed(head) {
		return nil, body{}
	}
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(head), 16))
	if err != nil {
		return nil, body{}
	}
	return r, body{length: max(0, r.ContentLength), chunked: len(r.TransferEncoding) > 0}
}

// readResponse reads the head of an answer, and how its body is framed.
func readResponse(head []byte, method string) (status int, framed body, ok bool) {
	if len(head) == 0 || twiceFramed(head) {
		return 0, body{}, false
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(head), 16), &http.Request{Method: method})
	if err != nil {
		return 0, body{}, false
	}
	defer r.Body.Close() //nolint:errcheck // of a head alone
	framed = body{length: r.ContentLength, chunked: len(r.TransferEncoding) > 0}
	if method == http.MethodHead || r.StatusCode < 200 || r.StatusCode == http.StatusNoContent || r.StatusCode == http.StatusNotModified {
		framed = body{}
	}
	return r.StatusCode, framed, true
}

var framing = regexp.MustCompile(`(?i)\n(content-length|transfer-encoding)[ \t]*:`)

// twiceFramed reports whether a head says in two ways how long its body is, of
// which one peer may believe the other one.
func twiceFramed(head []byte) bool { return len(framing.FindAll(head, 2)) > 1 }

// observed says what an observed request asks for. Policy sees what it would see,
// but for a body that has not come whole; recorded are method and path.
func (s *session) observed(r *http.Request, body []byte, whole bool) operation.Operation {
	if !whole {
		body = nil
	}
	op, err := s.classify(r, body)
	plain := err == nil && whole && slices.Contains(methods, r.Method) && r.URL.Host == "" && r.URL.RequestURI() == r.RequestURI
	if op.HTTP == nil {
		path, _ := httpproxy.ReadPath(r.URL.EscapedPath())
		op = operation.Operation{Kind: operation.Request, HTTP: &operation.HTTP{Method: r.Method, Host: httpproxy.HostOf(r.Host), Path: path}}
	}
	op.Parsed, op.ReadOnly = op.Parsed && plain, op.ReadOnly && plain
	op.Bytes, op.Text = nil, append(append([]byte(r.Method), ' '), r.URL.EscapedPath()...)
	return op
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}
