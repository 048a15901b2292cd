package kubernetes

import (
	"net/http"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
)

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
	// The API's own description holds no objects, and old clients take it in
	// protobuf alone, whose media type has a letter that none may have.
	if !strings.HasPrefix(r.URL.Path, "/openapi/") {
		narrow(r.Header, !s.conn.Masks.Empty())
	}
	r.Header.Set("User-Agent", httpproxy.SignedAgent(r.Header.Get("User-Agent"), s.conn.Session))
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

// legible reports whether objects of a media type can be read where they are
// recorded, and masked where they have to be. Every client that takes another
// one takes JSON as well.
func legible(media string, masked bool) bool {
	switch media {
	case "application/vnd.kubernetes.protobuf", "application/cbor", "application/cbor-seq":
		return false
	case "application/yaml":
		return !masked
	}
	return true
}

// narrow asks the server for objects in a form that can be read.
func narrow(header http.Header, masked bool) {
	httpproxy.Narrow(header, func(media string) bool { return legible(media, masked) }, jsonType)
}
