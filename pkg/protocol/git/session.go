package git

import (
	"context"
	"net/http"
	"net/url"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// session is one connection of a client.
type session struct {
	plugin *Git
	conn   *protocol.Conn
}

// site is how the engine serves the session.
func (s *session) site() httpproxy.Site {
	return httpproxy.Site{
		Admit:    s.admit,
		Stream:   s.stream,
		Classify: s.classify,
		Login:    httpproxy.NewLogin(s.conn),
		Refuse:   refuse,
	}
}

// admit takes what the job authenticates with from a request, and refuses one
// for another server at the same address.
func (s *session) admit(r *http.Request) error {
	r.Header.Del("Authorization")
	return httpproxy.Meant(s.conn, r.Host)
}

// classify refuses what is not the smart protocol: files of a repository, other
// services of its host, large files (LFS).
func (s *session) classify(*http.Request, []byte) (operation.Operation, error) {
	return operation.Operation{}, &httpproxy.Refusal{Code: http.StatusForbidden, Message: "sluice: nothing but git's smart protocol is served"}
}

// stream serves what is the smart protocol.
func (s *session) stream(w http.ResponseWriter, r *http.Request, to *httpproxy.Session) bool {
	t, ok := targetOf(r)
	if !ok {
		return false
	}
	if refusal := to.Enter(r.Context()); refusal != nil {
		refuse(w, r, refusal)
		return true
	}
	x := &exchange{session: s, to: to, w: w, r: r, target: t}
	if t.asks {
		x.advertise()
	} else {
		x.serve()
	}
	return true
}

// request is a request of ours for a repository of the server: with what the
// client says of itself, and in the version of the protocol that is wished.
func (x *exchange) request(ctx context.Context, method, below, query, version string) *http.Request {
	r := &http.Request{
		Method: method, Host: x.r.Host, Header: http.Header{},
		URL: &url.URL{Path: x.target.repository + below, RawQuery: query},
	}
	r.Header.Set("User-Agent", httpproxy.SignedAgent(x.r.Header.Get("User-Agent"), x.session.conn.Session))
	if version != "" {
		r.Header.Set("Git-Protocol", version)
	}
	return x.to.Outgoing(ctx, r, nil)
}

// version is what the client wishes to speak; "" for the first, and for what is
// not understood.
func (x *exchange) version() string {
	switch wished := x.r.Header.Get("Git-Protocol"); wished {
	case "version=1", "version=2":
		return wished
	}
	return ""
}

// operation describes the request itself. What is asked of the repository is
// another operation, below it.
func (x *exchange) operation() operation.Operation {
	text := operation.Text(x.r.Method + " " + x.r.URL.RequestURI())
	return operation.Operation{
		Kind: operation.Request, Text: text, Bytes: text.Reveal(), Parsed: true, ReadOnly: x.target.asks || x.target.service == gitwire.UploadPack,
		HTTP: &operation.HTTP{Method: x.r.Method, Host: httpproxy.HostOf(x.r.Host), Path: x.r.URL.Path, Query: x.r.URL.RawQuery},
		Git:  &operation.Git{Repository: x.target.repository},
	}
}
