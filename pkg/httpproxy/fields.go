package httpproxy

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// maxUserAgent is how much of the client's own name the server is told.
const maxUserAgent = 512

// SignedAgent is a User-Agent field from which the server's own log names the
// session.
func SignedAgent(client string, s *session.Session) string {
	return strings.TrimSpace(client[:min(len(client), maxUserAgent)] + " sluice/" + s.ID)
}

// Meant refuses a Host field that names none of the resource's hosts: a server
// may have others, which are not protected as this one is.
func Meant(conn *protocol.Conn, field string) error {
	host := HostOf(field)
	if slices.ContainsFunc(conn.Names, func(name string) bool { return strings.EqualFold(name, host) }) ||
		host == conn.Session.Destination.Addr().String() {
		return nil
	}
	return &Refusal{Code: http.StatusMisdirectedRequest, Message: "sluice: this host is none of the resource's"}
}

// Narrow leaves of the forms that a client takes those in which an answer can be
// read, or asks for another one. A client that takes all gets what the server
// likes.
func Narrow(header http.Header, legible func(media string) bool, otherwise string) {
	if len(header["Accept"]) == 0 {
		return
	}
	var kept []string
	for _, kind := range tokens(header["Accept"]) {
		if name, _, err := mime.ParseMediaType(kind); err == nil && legible(name) {
			kept = append(kept, kind)
		}
	}
	if len(kept) == 0 {
		kept = []string{otherwise}
	}
	header["Accept"] = []string{strings.Join(kept, ", ")}
}
