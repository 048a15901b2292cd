package web

import (
	"bytes"
	"mime"
	"net/http"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
)

// masking says how an answer is hidden: a JSON document as a whole, several one
// by one, and everything else by the detectors. Where a path may lead to something
// in what is not JSON, nothing of it is shown.
func (s *session) masking(op *operation.Operation, answer *http.Response) (*httpproxy.Masking, error) {
	media, parameters, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if answer.StatusCode == http.StatusPartialContent || media == "multipart/byteranges" {
		return nil, hidden("it is a part, which nobody asked for")
	}
	masks := s.conn.Masks
	if masks.Empty() {
		return nil, nil
	}
	if op.HTTP.Method == http.MethodHead || answer.ContentLength == 0 {
		return &httpproxy.Masking{Text: true}, nil // so that its fields say nothing of values
	}
	if len(answer.Header["Content-Type"]) > 1 || !isASCII(parameters["charset"]) {
		return nil, hidden("it cannot be looked into")
	}
	switch {
	case err == nil && isJSON(media):
		return &httpproxy.Masking{Document: s.document}, nil
	case err == nil && isSequence(media):
		return &httpproxy.Masking{Document: s.document, Sequence: true}, nil
	case len(s.paths) == 0:
		return &httpproxy.Masking{Text: true}, nil
	case answer.StatusCode >= http.StatusMultipleChoices:
		return &httpproxy.Masking{Nothing: true}, nil
	}
	return nil, hidden("it is not JSON")
}

// hidden refuses an answer.
func hidden(why string) error {
	return &httpproxy.Refusal{Code: http.StatusBadGateway, Message: "sluice: the answer is not shown: " + why}
}

// document masks a document.
func (s *session) document(document []byte) (masked []byte, values int, err error) {
	text := bytes.TrimPrefix(document, bom)
	if len(bytes.TrimSpace(text)) == 0 {
		return document, 0, nil
	}
	out := append(make([]byte, 0, len(document)), document[:len(document)-len(text)]...)
	out, values, ok := s.conn.Masks.AppendJSON(out, s.conn.MaskKey, text, s.paths)
	if !ok {
		return nil, 0, hidden("it says that it is JSON, and is none")
	}
	return out, values, nil
}

func badRequest(why string) error {
	return &httpproxy.Refusal{Code: http.StatusBadRequest, Message: "sluice: " + strings.TrimSpace(why)}
}
