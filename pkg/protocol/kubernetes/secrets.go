package kubernetes

import (
	"bytes"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
)

// maxDocument is the longest JSON document that is masked, in bytes: it is held
// whole.
const maxDocument = 32 << 20

// hides reports whether the resource's masks hide anything in an answer.
func hides(masks *mask.Set) bool { return len(masks.Kinds)+len(masks.Detect) > 0 }

// masking says how the answer of an operation is hidden: a JSON document as a
// whole, a watch's events one by one, text by the detectors. What nobody can
// look into is refused.
func (s *session) masking(op *operation.Operation, answer *http.Response) (*httpproxy.Masking, error) {
	masks := s.conn.Masks
	if len(masks.Kinds) > 0 {
		hideWarnings(masks, op.Kube, answer.Header)
	}
	if !hides(masks) || isSchema(op) || answer.ContentLength == 0 || answer.Request != nil && answer.Request.Method == http.MethodHead {
		return nil, nil
	}
	if coding := answer.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, unmasked("the answer is compressed")
	}
	if len(answer.Header["Content-Type"]) > 1 {
		return nil, unmasked("the answer says twice what it is")
	}
	media, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch {
	case err == nil && (media == jsonType || strings.HasSuffix(media, "+json")):
		return &httpproxy.Masking{Document: s.document(op.Kube), Sequence: op.Kube != nil && op.Kube.Verb == "watch"}, nil
	case len(masks.Kinds) > 0 && isHostLog(op):
		return nil, unmasked("a host's log may hold objects")
	case !isPlain(media, op.Kube):
		return nil, unmasked("the answer is not JSON")
	case len(masks.Detect) == 0:
		return nil, nil
	}
	return &httpproxy.Masking{Text: true}, nil
}

// isSchema reports whether an operation reads the API's own description, which
// holds no objects, and which old clients want in protobuf alone.
func isSchema(op *operation.Operation) bool {
	return op.Kube != nil && op.Kube.Resource == "" && op.HTTP != nil && strings.HasPrefix(op.HTTP.Path, "/openapi/")
}

// isHostLog reports whether an operation reads a log of the API server's host or
// of a node. Audit logs stand among them, with whole objects in their lines.
func isHostLog(op *operation.Operation) bool {
	if op.Kube == nil || op.HTTP == nil {
		return false
	}
	inner := op.HTTP.Path
	switch {
	case op.Kube.Resource == "nodes" && op.Kube.Subresource == proxying: // whatever the node is called
		_, inner, _ = strings.Cut(inner, "/nodes/")
		_, inner, _ = strings.Cut(inner, "/proxy")
	case op.Kube.Resource != "":
		return false
	}
	return inner == "/logs" || strings.HasPrefix(inner, "/logs/")
}

// isPlain reports whether an answer that is not JSON holds no objects of
// Kubernetes: those come in JSON, YAML, protobuf and CBOR. What a server behind
// the API server says may be anything else.
func isPlain(media string, k *operation.Kube) bool {
	if slices.ContainsFunc([]string{"yaml", "protobuf", "proto-", "cbor"}, func(word string) bool { return strings.Contains(media, word) }) {
		return false
	}
	return media == "text/plain" || k == nil || k.Resource == "" || k.Subresource == proxying || k.Subresource == "log"
}

// unmasked refuses an answer in which nobody can look for what is masked.
func unmasked(why string) error {
	return &httpproxy.Refusal{Code: http.StatusBadGateway, Message: "sluice: " + why + ", and a mask hides something of this resource"}
}

// document masks the documents of an operation's answer.
func (s *session) document(k *operation.Kube) func(document []byte) ([]byte, int, error) {
	masks, is := s.conn.Masks, concerned(s.conn.Masks, k)
	guarded := is != 0 || strange(masks, k)
	return func(document []byte) ([]byte, int, error) {
		if len(document) > maxDocument {
			return nil, 0, unmasked("the answer is longer than 32 MiB: ask for less at once, with limit=")
		}
		if !guarded && len(masks.Detect) == 0 && !mentions(masks, document) && !bytes.Contains(document, policyNamed) {
			return document, 0, nil
		}
		v := veil{masks: masks, guarded: guarded, put: putMasked(s.conn.MaskKey), clean: func(dst, text []byte) ([]byte, int, bool) {
			return masks.AppendClean(dst, s.conn.MaskKey, text)
		}}
		out, ok := v.document(make([]byte, 0, len(document)), document, is)
		if !ok {
			return nil, 0, unmasked("the answer cannot be read")
		}
		return out, v.hidden, nil
	}
}

// mentions reports whether a document could name a masked kind: in its own
// letters, or in others.
func mentions(masks *mask.Set, document []byte) bool {
	return bytes.Contains(document, []byte(`\u`)) || slices.ContainsFunc(masks.Kinds, func(k mask.Kind) bool {
		return bytes.Contains(document, []byte(k.Kind))
	})
}

// accepted asks the server for JSON alone, where masks have to look into it.
// Whole objects, or only their metadata, and tables are all JSON; a table of
// objects of a kind that is not Kubernetes' own shows what a mask hides.
func accepted(masks *mask.Set, op *operation.Operation, header http.Header) {
	k := op.Kube
	if !hides(masks) || isSchema(op) || k.Subresource == proxying || k.Subresource == "log" {
		return
	}
	var kept []string
	for clause := range strings.SplitSeq(strings.Join(header["Accept"], ","), ",") {
		media, parameters, err := mime.ParseMediaType(clause)
		if err == nil && media == jsonType && parameters["as"] != "" && !(parameters["as"] == "Table" && strange(masks, k)) {
			kept = append(kept, strings.TrimSpace(clause))
		}
	}
	header.Set("Accept", strings.Join(append(kept, jsonType), ","))
}
