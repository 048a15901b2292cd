package kubernetes

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/httpproxy"
)

// maxPath is the longest path that is read, in bytes. The longest names that
// Kubernetes has are of 253.
const maxPath = 8 << 10

// badRequest is why a request is not even asked about. A reason never holds what
// a client sent.
func badRequest(reason string) error { return refuseWith(http.StatusBadRequest, reason) }

func refuseWith(code int, reason string) error {
	return &httpproxy.Refusal{Code: code, Message: "sluice: " + reason}
}

// splitTarget splits a request target (RFC 9112 §3.2.1) into its path, decoded,
// and its query as it was written. What two parsers could read in two ways it
// refuses: what is decoded is read once more by nobody.
func splitTarget(target string) (path, query string, err error) {
	written, query, _ := strings.Cut(target, "?")
	if len(written) > maxPath {
		return "", "", refuseWith(http.StatusRequestURITooLong, "the path is too long")
	}
	if !strings.HasPrefix(written, "/") {
		return "", "", badRequest("the request target is not a path")
	}
	if path, err = decodePath(written); err != nil {
		return "", "", err
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path[1:], "/"), "/") {
		switch {
		case segment == "" && path != "/":
			return "", "", badRequest("the path has an empty segment")
		case segment == "." || segment == "..":
			return "", "", badRequest("the path has a dot segment")
		}
	}
	return path, query, nil
}

// decodePath decodes a path of the characters that RFC 3986 §3.3 allows in it.
// Encoded, it takes only what has to be: no letter, no digit, no dot, no slash
// and no percent sign.
func decodePath(written string) (string, error) {
	for i := 0; i < len(written); i++ {
		c := written[i]
		if c == '%' {
			high, low := unhex(written, i+1), unhex(written, i+2)
			if high < 0 || low < 0 {
				return "", badRequest("the path has a broken percent encoding")
			}
			if c = byte(high<<4 | low); !mustEncode(c) {
				return "", badRequest("the path encodes a character that need not or must not be")
			}
			i += 2
			continue
		}
		if c != '/' && !plainByte(c) {
			return "", badRequest("the path has a character that has no place in it")
		}
	}
	path, err := url.PathUnescape(written)
	if err != nil || !utf8.ValidString(path) {
		return "", badRequest("the path is no text")
	}
	return path, nil
}

func unhex(s string, i int) int {
	if i >= len(s) {
		return -1
	}
	switch c := s[i]; {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// plainByte reports whether a path holds the character as it is: what is
// unreserved or a delimiter, but for the semicolon, behind which some read
// parameters.
func plainByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~!$&'()*+,=:@", c) >= 0
}

// mustEncode reports whether a character can stand in a name and not in a path.
// Delimiters are encoded by some clients.
func mustEncode(c byte) bool {
	switch {
	case c < 0x20 || c == 0x7f || strings.IndexByte("/\\%;", c) >= 0:
		return false
	case strings.IndexByte("-._~", c) >= 0:
		return false
	}
	return !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9')
}

// place is what a path means to an API server.
type place struct {
	resource                                     string // in the plural; empty: no resource is meant
	group, version, namespace, name, subresource string
	watched                                      bool // by the deprecated prefix
}

// findPlace reads a decoded path by Kubernetes' scheme:
//
//	/api/VERSION/…  /apis/GROUP/VERSION/…                       and behind that
//	RESOURCE[/NAME[/SUBRESOURCE]]                               of the cluster
//	namespaces/NAMESPACE/RESOURCE[/NAME[/SUBRESOURCE]]          of a namespace
//	namespaces[/NAMESPACE[/status or finalize]]                 a namespace itself
//	watch/…                                                     deprecated
//
// Behind the subresource proxy anything may follow.
func findPlace(path string) (p place, err error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		p.version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		p.group, p.version, parts = parts[1], parts[2], parts[3:]
	case strings.EqualFold(parts[0], "api") && parts[0] != "api", strings.EqualFold(parts[0], "apis") && parts[0] != "apis":
		return place{}, badRequest("the path is in the wrong case")
	default:
		return place{}, nil
	}
	switch parts[0] {
	case "watch":
		if p.watched, parts = true, parts[1:]; len(parts) == 0 {
			return place{}, badRequest("the path watches nothing")
		}
	case "proxy":
		return place{}, badRequest("the path has the prefix proxy, which servers no longer have")
	}
	if parts, err = p.within(parts); err != nil {
		return place{}, err
	}
	p.resource = parts[0]
	if len(parts) > 1 {
		p.name = parts[1]
	}
	if len(parts) > 2 {
		p.subresource = parts[2]
	}
	if p.watched && p.subresource != "" {
		return place{}, badRequest("the path watches a subresource")
	}
	if len(parts) > 3 && p.subresource != proxying {
		return place{}, badRequest("the path goes on behind a subresource")
	}
	if strings.HasSuffix(path, "/") && p.subresource != proxying {
		return place{}, badRequest("the path of a resource ends in a slash")
	}
	return p, p.check()
}

// within takes the namespace off a path, where what follows is in it.
func (p *place) within(parts []string) ([]string, error) {
	if parts[0] != "namespaces" || len(parts) == 1 {
		return parts, nil
	}
	p.namespace = parts[1]
	if len(parts) == 2 || parts[2] == "status" || parts[2] == "finalize" {
		if p.group != "" && len(parts) > 2 {
			return nil, badRequest("the path names a resource that others take for a namespace's own")
		}
		return parts, nil
	}
	if parts[2] == "namespaces" {
		return nil, badRequest("the path has a namespace in a namespace")
	}
	return parts[2:], nil
}

// check refuses what no API server has: names of groups, versions and resources
// are in lower case.
func (p *place) check() error {
	if p.group != "" && !isWord(p.group, true) || !isWord(p.version, false) || !isWord(p.resource, false) ||
		p.subresource != "" && !isWord(p.subresource, false) {
		return badRequest("the path names no API group, version, resource or subresource that there can be")
	}
	if p.namespace != "" && !isWord(p.namespace, false) {
		return badRequest("the path names no namespace that there can be")
	}
	if p.subresource == proxying {
		return p.bareName()
	}
	return nil
}

// bareName leaves of scheme:name:port, which proxying takes, the name.
func (p *place) bareName() error {
	parts := strings.Split(p.name, ":")
	switch {
	case len(parts) == 1:
	case len(parts) == 2:
		p.name = parts[0]
	case len(parts) == 3 && (parts[0] == "" || parts[0] == "http" || parts[0] == "https"):
		p.name = parts[1]
	default:
		return badRequest("the path names nothing that can be proxied")
	}
	if p.name == "" {
		return badRequest("the path proxies nothing")
	}
	return nil
}

// isWord reports whether a text is a DNS label (RFC 1123), or with dots a name
// of several.
func isWord(text string, dots bool) bool {
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && (c != '.' || !dots) {
			return false
		}
	}
	return text != ""
}
