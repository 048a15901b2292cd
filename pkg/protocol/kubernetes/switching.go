package kubernetes

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
)

// What Kubernetes upgrades to (k8s.io/apimachinery, util/remotecommand and
// util/portforward).
const (
	channelV4      = "v4.channel.k8s.io"
	channelV5      = "v5.channel.k8s.io"
	portForwardV1  = "portforward.k8s.io"
	tunnelledPorts = "SPDY/3.1+portforward.k8s.io"
)

// The fields of HTTP that streams are agreed on with.
const (
	spdyProtocols    = "X-Stream-Protocol-Version"
	wsProtocols      = "Sec-WebSocket-Protocol"
	wsKey            = "Sec-WebSocket-Key"
	wsAccept         = "Sec-WebSocket-Accept"
	wsVersion        = "Sec-WebSocket-Version"
	wsExtensions     = "Sec-WebSocket-Extensions"
	maxOffered       = 16
	websocketUpgrade = "websocket"
	spdyUpgrade      = "SPDY/3.1"
)

// switching is what a client wants its connection to become.
type switching struct {
	websocket bool     // else SPDY
	key       string   // of the client's handshake
	offered   []string // what the client offers and we speak, as it prefers
	chosen    string   // of these
}

// readSwitching reads what a request wants to be upgraded to. An error is a
// refusal.
func readSwitching(r *http.Request, op *operation.Operation) (switching, error) {
	if op.Kube == nil || !opensStreams(op.Kube) {
		return switching{}, refuseWith(http.StatusForbidden, "only exec, attach and portforward of a pod may be upgraded: what goes through anything else could not be recorded")
	}
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return switching{}, refuseWith(http.StatusBadRequest, "streams are served over HTTP/1.1")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost || r.ContentLength > 0 {
		return switching{}, refuseWith(http.StatusBadRequest, "streams are opened with GET or POST, and without a body")
	}
	wanted, known := switching{}, []string{channelV4, channelV5}
	forward := op.Kube.Subresource == forwarding
	switch upgrade := listed(r.Header, "Upgrade"); {
	case len(upgrade) != 1:
		return switching{}, refuseWith(http.StatusBadRequest, "one protocol has to be named to upgrade to")
	case strings.EqualFold(upgrade[0], websocketUpgrade):
		wanted.websocket, wanted.key = true, r.Header.Get(wsKey)
		wanted.offered = listed(r.Header, wsProtocols)
		if r.Method != http.MethodGet || r.Header.Get(wsVersion) != "13" || !validKey(wanted.key) || len(r.Header.Values(wsKey)) != 1 {
			return switching{}, refuseWith(http.StatusBadRequest, "this is not how a WebSocket is opened")
		}
		if forward {
			known = []string{tunnelledPorts}
		}
	case strings.EqualFold(upgrade[0], spdyUpgrade):
		wanted.offered = listed(r.Header, spdyProtocols)
		if forward {
			known = []string{portForwardV1}
		}
	default:
		return switching{}, refuseWith(http.StatusBadRequest, "what it wants to be upgraded to is not served")
	}
	if len(wanted.offered) > maxOffered {
		return switching{}, refuseWith(http.StatusBadRequest, "too many kinds of streams are offered")
	}
	wanted.offered = slices.DeleteFunc(wanted.offered, func(name string) bool { return !slices.Contains(known, name) })
	if len(wanted.offered) == 0 {
		return switching{}, refuseWith(http.StatusBadRequest, "of the kinds of streams that it offers none is served, which are "+strings.Join(known, ", "))
	}
	return wanted, nil
}

// opensStreams reports whether an operation opens streams that are recorded.
func opensStreams(k *operation.Kube) bool {
	return k.Group == "" && k.Resource == "pods" && slices.Contains([]string{executing, attaching, forwarding}, k.Subresource)
}

// listed returns the members of a field that is a list (RFC 9110, section 5.6.1).
func listed(h http.Header, name string) (members []string) {
	for _, value := range h.Values(name) {
		for member := range strings.SplitSeq(value, ",") {
			if member = strings.Trim(member, " \t"); member != "" {
				members = append(members, member)
			}
		}
	}
	return members
}

// safest is what to speak with a client that has to be told something before
// the server could be asked: of WebSocket what the client prefers; of SPDY the
// version that all servers know.
func (w switching) safest() string {
	if !w.websocket && slices.Contains(w.offered, channelV4) {
		return channelV4
	}
	return w.offered[0]
}

// framing returns how streams are carried.
func (w switching) framing(client bool, chosen string) framing {
	switch {
	case chosen == tunnelledPorts:
		return newTunnel(client)
	case w.websocket:
		return newChannels(client, byte(terminal), chosen == channelV5)
	}
	return newSPDY(client)
}

// hasTerminal reports whether a terminal is asked for, as far as a notice has to
// know.
func hasTerminal(r *http.Request) bool {
	query, err := url.ParseQuery(r.URL.RawQuery)
	return err == nil && slices.Contains([]string{"true", "1"}, query.Get("tty"))
}
