package kubernetes

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
)

// policyNamed stands before the name of an admission policy where an API server
// repeats what one said (apiserver: admission/plugin/policy). A policy may quote
// all that it reads, its parameters too, whatever the request is about.
var (
	policyNamed = []byte("AdmissionPolicy '")
	policyName  = regexp.MustCompile(`AdmissionPolicy '([^']*'( with binding '[^']*')?)?`)
)

// webhookNamed stands before the name of a webhook that forbids a request, and
// what it said.
var webhookNamed = []byte(`admission webhook "`)

// withoutPolicy is a server's text without what an admission policy said, and
// whether one said anything. Names stay.
func withoutPolicy(text []byte) (bare []byte, said bool) {
	name := policyName.FindIndex(text)
	if name == nil {
		return text, false
	}
	return append(bytes.Clone(text[:name[1]]), ": [redacted]"...), true
}

// hideWarnings takes out of an answer's header what may quote a masked object
// (RFC 7234, section 5.5): admission policies' words, and of a change of such an
// object all, since a webhook's are as they are.
func hideWarnings(masks *mask.Set, k *operation.Kube, header http.Header) {
	const all = `299 - "a mask hides what the server warns of, which may repeat an object"`
	written := k != nil && !slices.Contains([]string{"get", "list", "watch"}, k.Verb) && (concerned(masks, k) != 0 || strange(masks, k))
	for i, value := range header["Warning"] {
		if bare, said := withoutPolicy([]byte(value)); said {
			header["Warning"][i] = string(bare) + `"`
		} else if written {
			header["Warning"][i] = all
		}
	}
}

// words copies what a server says, if it may repeat a masked object: without
// that. It reports whether it did.
func (v *veil) words(at around) bool {
	end := stringEnd(v.src, v.pos)
	text := decoded(v.src[v.pos:end])
	bare, said := withoutPolicy(text)
	switch {
	case at.errs && v.repeats(at, text):
		bare = []byte("a mask hides what the server said, which may repeat an object: [redacted]")
	case !said:
		return false
	}
	v.pos = end
	v.hidden++
	v.dst = appendQuoted(v.dst, bare)
	return true
}

// repeats reports whether an error's words may repeat a masked object. Reasons
// that quote nothing are a webhook's, too, for what it says.
func (v *veil) repeats(at around, text []byte) bool {
	if at.harmless {
		return v.guarded && bytes.Contains(text, webhookNamed)
	}
	return v.guarded || mentions(v.masks, text)
}
