package kubernetes

import (
	"mime"
	"net/http"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
)

// maxUserAgent is how much of the client's own name the server is told.
const maxUserAgent = 512

// bearerProtocol begins a subprotocol of WebSocket that is a bearer token
// (apiserver: authentication/request/websocket).
const bearerProtocol = "base64url.bearer.authorization.k8s.io."

// admit takes from a request what the job authenticates with, and what claims to
// be somebody: who acts is known here, and the server knows the agent.
func (s *session) admit(r *http.Request) error {
	for name := range r.Header {
		plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		switch {
		case strings.HasPrefix(plain, "impersonate-"):
			return &httpproxy.Refusal{Code: http.StatusForbidden, Message: "sluice: the agent acts for nobody else: impersonation is refused"}
		case strings.HasPrefix(plain, "x-remote-"), plain == "authorization", strings.HasPrefix(plain, "x-forwarded-"):
			delete(r.Header, name)
		}
	}
	dropBearers(r.Header)
	narrow(r.Header)
	agent := r.Header.Get("User-Agent")
	agent = agent[:min(len(agent), maxUserAgent)]
	r.Header.Set("User-Agent", strings.TrimSpace(agent+" sluice/"+s.conn.Session.ID))
	return nil
}

// dropBearers removes tokens from the subprotocols of a WebSocket.
func dropBearers(header http.Header) {
	const name = "Sec-Websocket-Protocol"
	var kept []string
	for _, value := range header[name] {
		for protocol := range strings.SplitSeq(value, ",") {
			if protocol = strings.TrimSpace(protocol); !strings.HasPrefix(strings.ToLower(protocol), bearerProtocol) {
				kept = append(kept, protocol)
			}
		}
	}
	if len(kept) == 0 {
		header.Del(name)
		return
	}
	header[name] = []string{strings.Join(kept, ", ")}
}

// unreadable are media types of objects that nothing here reads. Every client
// that takes them takes JSON as well.
var unreadable = map[string]bool{
	"application/vnd.kubernetes.protobuf": true,
	"application/cbor":                    true,
	"application/cbor-seq":                true,
	"application/yaml":                    true,
}

// narrow asks the server for objects in JSON, so that they can be masked and
// read where they are recorded.
func narrow(header http.Header) {
	asked := header["Accept"]
	if len(asked) == 0 {
		return
	}
	var kept []string
	for _, value := range asked {
		for kind := range strings.SplitSeq(value, ",") {
			kind = strings.TrimSpace(kind)
			name, _, err := mime.ParseMediaType(kind)
			if err == nil && !unreadable[name] {
				kept = append(kept, kind)
			}
		}
	}
	if len(kept) == 0 {
		kept = []string{"application/json"}
	}
	header["Accept"] = []string{strings.Join(kept, ", ")}
}
