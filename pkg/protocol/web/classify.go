package web

import (
	"bytes"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
)

// classify says what a request asks for. It is understood where a server can
// read its path, query and body in one way only.
//
// An approval binds the bytes: method, target, host, the fields that the server
// gets from the client, and the body.
func (s *session) classify(r *http.Request, body []byte) (operation.Operation, error) {
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return operation.Operation{}, badRequest("the content type cannot be read")
	}
	if len(s.paths) > 0 && renames(r, media, body) {
		return operation.Operation{}, &httpproxy.Refusal{
			Code: http.StatusForbidden, Message: "sluice: a GraphQL query can rename what a mask hides by its path, so it is refused",
		}
	}
	path, certain := httpproxy.ReadPath(r.URL.EscapedPath())
	certain = certain && httpproxy.ReadQuery(r.URL.RawQuery) && plainBody(media, parameters["charset"], body) && !overrides(r, media, body)
	op := operation.Operation{
		Kind: operation.Request, Parsed: certain, ReadOnly: certain && isSafe(r.Method), Bytes: text(r, body),
		HTTP: &operation.HTTP{Method: r.Method, Host: httpproxy.HostOf(r.Host), Path: path, Query: r.URL.RawQuery, Body: body},
	}
	if clean := s.seal(body); len(s.paths) > 0 {
		op.Text = text(r, clean)
	}
	return op, nil
}

// streamed says what a request asks for whose body is not held. What a mask's
// path leads to could be asked for in it by other names, and stand there itself.
func (s *session) streamed(r *http.Request) (operation.Operation, error) {
	if len(s.paths) > 0 {
		return operation.Operation{}, &httpproxy.Refusal{
			Code: http.StatusRequestEntityTooLarge, Message: "sluice: the body is larger than 4 MiB, and a mask hides values by their path, so it has to be read",
		}
	}
	op, err := s.classify(r, nil)
	if err != nil {
		return op, err
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // classify did so
	op.HTTP.Streamed, op.HTTP.Form = true, mayOverride(media)
	return op, nil
}

// isSafe reports whether HTTP promises of a method that it changes nothing (RFC
// 9110, section 9.2.1). A server may break that promise.
func isSafe(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method)
}

// text is a request as the server gets it, but for what the agent adds.
func text(r *http.Request, body []byte) []byte {
	out := append(append([]byte(r.Method), ' '), r.URL.RequestURI()...)
	out = append(append(out, "\nHost: "...), r.Host...)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name == "User-Agent" || name == "Accept-Encoding" { // the agent's
			continue
		}
		for _, value := range r.Header[name] {
			out = append(append(append(append(out, '\n'), name...), ": "...), value...)
		}
	}
	if len(body) == 0 {
		return out
	}
	return append(append(out, "\n\n"...), body...)
}

// seal hides in what is recorded of a body what a mask's path leads to.
func (s *session) seal(body []byte) []byte {
	if len(s.paths) == 0 || !looksLikeJSON(body) {
		return body
	}
	masks := *s.conn.Masks
	masks.Detect = nil
	if clean, _, ok := masks.AppendJSON(nil, s.conn.MaskKey, bytes.TrimPrefix(body, bom), s.sealed); ok {
		return clean
	}
	if s.conn.Seal != nil {
		return s.conn.Seal(nil, body)
	}
	return append(strconv.AppendInt([]byte("[sealed "), int64(len(body)), 10), " bytes]"...)
}
