package kubernetes

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
)

// jsonPatchType is that of patches (RFC 6902) which can say where a value comes
// from.
const jsonPatchType = "application/json-patch+json"

// admitted refuses a change by which a masked value would come to where no mask
// hides it, or by which what stands for one would be written in its place.
func admitted(masks *mask.Set, k *operation.Kube, contentType string, body []byte) error {
	is := concerned(masks, k)
	r := reading{contentType: contentType}
	switch {
	case is == 0 && !strange(masks, k):
		return nil
	case k.Verb == "patch" && r.mediaType() == jsonPatchType && !movesNothing(body):
		return &httpproxy.Refusal{Code: http.StatusForbidden, Message: "sluice: a JSON patch that copies, moves or tests what a mask hides is refused"}
	case is != 0 && (k.Verb == "create" || k.Verb == "update" || k.Verb == "patch") && putsBack(body):
		return &httpproxy.Refusal{Code: http.StatusForbidden, Message: "sluice: the request would write what a mask put there over the value that it hides"}
	}
	return nil
}

// movesNothing reports whether a JSON patch copies, moves and tests nothing but
// metadata without annotations, which may hold the object once more.
func movesNothing(patch []byte) bool {
	var steps []json.RawMessage
	if json.Unmarshal(patch, &steps) != nil {
		return false
	}
	for _, step := range steps {
		part, err := members(step, "op", "path", "from", "value")
		if err != nil {
			return false
		}
		op, err := textOf(part["op"])
		read := part["from"]
		switch {
		case err != nil:
			return false
		case (op == "add" || op == "replace" || op == "remove") && read == nil:
			continue
		case op == "test" && read == nil:
			read = part["path"]
		case op != "copy" && op != "move":
			return false
		}
		from, err := textOf(read)
		if err != nil || !strings.HasPrefix(from, "/metadata/") || strings.HasPrefix(from, "/metadata/annotations") {
			return false
		}
	}
	return true
}

// putsBack reports whether a body holds what a mask puts in a value's place, as
// what a client read and changes would.
func putsBack(body []byte) bool {
	for _, sign := range []string{"[redacted]", "********"} {
		encoded := base64.StdEncoding.EncodeToString([]byte(sign))
		encoded = encoded[:len(sign)*8/6] // as far as what follows cannot change it
		if bytes.Contains(body, []byte(`"`+sign)) || bytes.Contains(body, []byte(`"`+encoded)) {
			return true
		}
	}
	return false
}

// sealed is what is recorded of a request: its text, without the values that a
// mask would hide in an answer. seal appends what stands for one.
func sealed(masks *mask.Set, op *operation.Operation, contentType string, seal func(dst, value []byte) []byte) operation.Text {
	if !hides(masks) {
		return op.Text
	}
	head, body, _ := bytes.Cut(op.Text.Reveal(), []byte("\n\n"))
	text := sealTarget(masks, head, seal)
	if len(op.HTTP.Body) == 0 {
		return text
	}
	return sealBody(append(text, "\n\n"...), masks, op, contentType, body, seal)
}

// sealTarget seals a query in which a detector finds something, as it is
// written or decoded.
func sealTarget(masks *mask.Set, head []byte, seal func(dst, value []byte) []byte) []byte {
	line, rest, more := bytes.Cut(head, []byte("\n"))
	target, query, found := bytes.Cut(line, []byte("?"))
	text := append([]byte(nil), target...)
	if found {
		text = append(text, '?')
		plain, err := url.QueryUnescape(string(query))
		if err != nil || finds(masks, query) || finds(masks, []byte(plain)) {
			text = seal(text, query)
		} else {
			text = append(text, query...)
		}
	}
	if more {
		text = append(append(text, '\n'), rest...)
	}
	return text
}

func finds(masks *mask.Set, text []byte) bool {
	_, _, by := masks.Find(text)
	return by != nil
}

// sealBody appends a body: JSON value by value, all else as a whole where it
// may hold what is masked.
func sealBody(dst []byte, masks *mask.Set, op *operation.Operation, contentType string, body []byte, seal func(dst, value []byte) []byte) []byte {
	is := concerned(masks, op.Kube)
	r := reading{contentType: contentType}
	media := r.mediaType()
	unsure := is != 0 || strange(masks, op.Kube)
	switch {
	case media != jsonType && !strings.HasSuffix(media, "+json"):
		return sealWhole(dst, masks, unsure, body, seal)
	case unsure && op.Kube.Verb == "patch" && (is == 0 || media == jsonPatchType):
		return seal(dst, body) // it does not say what it changes a part of
	}
	v := veil{masks: masks, put: func(dst []byte, _ *mask.Kind, _ coding, value []byte) []byte {
		return appendQuoted(dst, seal(nil, value))
	}, clean: func(dst, text []byte) ([]byte, int, bool) {
		if finds(masks, text) {
			return seal(dst, text), 1, false
		}
		return append(dst, text...), 0, false
	}}
	mark := len(dst)
	out, ok := v.document(dst, body, is)
	if !ok {
		return sealWhole(dst[:mark], masks, unsure, body, seal)
	}
	return out
}

// sealWhole appends a body that cannot be read: sealed, where it may hold what
// is masked.
func sealWhole(dst []byte, masks *mask.Set, unsure bool, body []byte, seal func(dst, value []byte) []byte) []byte {
	if unsure || finds(masks, body) || mentions(masks, body) {
		return seal(dst, body)
	}
	return append(dst, body...)
}
