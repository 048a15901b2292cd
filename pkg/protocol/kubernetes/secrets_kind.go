package kubernetes

import (
	"encoding/base64"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
)

// coding is how a hidden value stands in its object.
type coding int

const (
	asText   coding = iota
	asBase64        // as bytes do
)

// part is what is hidden in one member of an object.
type part struct {
	as   coding
	only string // what has this name; empty: all
}

// hiddenPart says what is hidden in one member of an object of a masked kind.
// Of a kind that is not Kubernetes' own nobody knows what matters: all is hidden
// but what the object is and its metadata.
func hiddenPart(kind, member string) (part, bool) {
	switch kind {
	case "Secret":
		return part{as: codingOf(member, "data")}, member == "data" || member == "stringData"
	case "ConfigMap":
		return part{as: codingOf(member, "binaryData")}, member == "data" || member == "binaryData"
	case "TokenRequest":
		return part{only: "token"}, member == "status"
	case "TokenReview":
		return part{only: "token"}, member == "spec"
	}
	return part{}, member != "apiVersion" && member != "kind" && member != "metadata"
}

// isPart reports whether a member is one that objects have, and what refers to
// them or describes their kind has not.
func isPart(member []byte) bool {
	switch string(member) {
	case "metadata", "spec", "status", "data":
		return true
	}
	return false
}

// isWords reports whether a member is what a server says of an object: in an
// error, a condition, an event.
func isWords(member []byte) bool { return string(member) == "message" || string(member) == "note" }

// isHarmless reports whether errors of a reason repeat no values of an object.
// Invalid does: of a patch that cannot be made an API server shows all that the
// object would have become.
func isHarmless(reason []byte) bool {
	switch string(reason) {
	case "NotFound", "AlreadyExists", "Conflict", "Forbidden", "Unauthorized", "MethodNotAllowed", "NotAcceptable", "UnsupportedMediaType",
		"Expired", "Gone", "Timeout", "ServerTimeout", "TooManyRequests", "ServiceUnavailable", "RequestEntityTooLarge":
		return true
	}
	return false
}

func codingOf(member, inBase64 string) coding {
	if member == inBase64 {
		return asBase64
	}
	return asText
}

// ownKind reports whether it is known which resource has objects of a kind.
func ownKind(kind string) bool {
	return kind == "Secret" || kind == "ConfigMap" || kind == "TokenRequest" || kind == "TokenReview"
}

// kindOf is the kind of the objects that an operation is about, where that is
// known; else it is "".
func kindOf(k *operation.Kube) string {
	switch {
	case k == nil:
		return ""
	case k.Group == "authentication.k8s.io" && k.Resource == "tokenreviews":
		return "TokenReview"
	case k.Group == "" && k.Resource == "serviceaccounts" && k.Subresource == "token":
		return "TokenRequest"
	case k.Resource == "secrets": // of other groups too: kinds are known by their names
		return "Secret"
	case k.Resource == "configmaps":
		return "ConfigMap"
	}
	return ""
}

// concerned are the masked kinds that the objects of an operation are of, as
// bits of masks.Kinds.
func concerned(masks *mask.Set, k *operation.Kube) (is uint64) {
	kind := kindOf(k)
	for i := range masks.Kinds {
		if masks.Kinds[i].Kind == kind {
			is |= 1 << i
		}
	}
	return is
}

// strange reports whether the objects of an operation may be of a masked kind
// whose resource nobody knows.
func strange(masks *mask.Set, k *operation.Kube) bool {
	if k == nil || isOwnGroup(k.Group) {
		return false
	}
	for i := range masks.Kinds {
		if !ownKind(masks.Kinds[i].Kind) {
			return true
		}
	}
	return false
}

// putMasked returns what puts a masked value in a document: a string of the
// form that clients decode, or null.
func putMasked(key []byte) func(dst []byte, by *mask.Kind, as coding, value []byte) []byte {
	return func(dst []byte, by *mask.Kind, as coding, value []byte) []byte {
		if as == asBase64 {
			if plain, err := base64.StdEncoding.AppendDecode(nil, value); err == nil {
				value = plain
			}
		}
		out, null := by.Method.Apply(nil, key, value)
		switch {
		case null:
			return append(dst, "null"...)
		case as == asBase64:
			dst = base64.StdEncoding.AppendEncode(append(dst, '"'), out)
			return append(dst, '"')
		}
		return appendQuoted(dst, out)
	}
}
