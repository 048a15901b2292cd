package httpproxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTarget is how much is recorded of the target of a request that nobody
// understands.
const maxTarget = 8 << 10

// methods are what a request may ask for. CONNECT makes a tunnel, TRACE shows
// what the agent logs in with.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// take reads the request whole and takes from it what must not reach the
// server. It reports whether it asks for another protocol on its connection.
func (x *exchange) take() (upgrade bool, err error) {
	if err := x.plausible(); err != nil {
		return false, err
	}
	received := x.r
	err = x.readBody()
	if errors.Is(err, errLong) {
		err = x.lengthen()
	}
	if err != nil {
		return false, err
	}
	if len(received.Trailer) > 0 {
		return false, &Refusal{Code: http.StatusBadRequest, Message: "sluice: a trailer is not understood"}
	}
	x.r = cleaned(received)
	x.r.Body = http.NoBody
	if upgrade = wantsUpgrade(received.Header); upgrade { // Site.Upgrade has to know what to
		x.r.Header["Connection"], x.r.Header["Upgrade"] = []string{"Upgrade"}, received.Header["Upgrade"]
	}
	if admit := x.session.site.Admit; admit != nil {
		return upgrade, admit(x.r)
	}
	return upgrade, nil
}

// cleaned is a request without what belongs to one connection, and without what
// misleads.
func cleaned(received *http.Request) *http.Request {
	r := received.Clone(received.Context())
	r.TransferEncoding = nil
	removeHops(r.Header)
	for _, name := range misleading {
		r.Header.Del(name)
	}
	return r
}

// plausible refuses what two readers could understand differently.
func (x *exchange) plausible() error {
	r := x.r
	switch {
	case !slices.Contains(methods, r.Method):
		return &Refusal{Code: http.StatusMethodNotAllowed, Message: "sluice: this method is not served"}
	case !strings.HasPrefix(r.RequestURI, "/") || r.URL.IsAbs() || r.URL.Host != "" || r.URL.Opaque != "" || r.URL.Fragment != "":
		return &Refusal{Code: http.StatusBadRequest, Message: "sluice: the target of a request has to be a path"}
	case r.URL.RequestURI() != r.RequestURI:
		return &Refusal{Code: http.StatusBadRequest, Message: "sluice: the target of a request has to be percent-encoded"}
	case len(r.Header["Content-Type"]) > 1:
		return &Refusal{Code: http.StatusBadRequest, Message: "sluice: a request has one content type"}
	}
	return nil
}

// readBody reads the body, within its time. errLong is of one that is not read
// to its end.
func (x *exchange) readBody() error {
	length := x.r.ContentLength
	if encoding := x.r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return &Refusal{Code: http.StatusUnsupportedMediaType, Message: "sluice: a body that is compressed is not understood"}
	}
	if length > bodyBytes {
		return errLong
	}
	if length == 0 {
		return nil
	}
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(x.session.engine.patience.body))
	err := x.body.read(x.r.Body, bodyBytes)
	if err == nil {
		_ = control.SetReadDeadline(time.Time{})
	}
	switch {
	case errors.Is(err, errLong):
		return err
	case errors.Is(err, errRoom):
		return &Refusal{Code: http.StatusTooManyRequests, Message: "sluice: this workload has too much under way"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Refusal{Code: http.StatusRequestTimeout, Message: "sluice: the body took too long"}
	case err != nil:
		return &Refusal{Code: http.StatusBadRequest, Message: "sluice: the body cannot be read"}
	}
	if len(x.body.bytes) > 0 && (x.r.Method == http.MethodGet || x.r.Method == http.MethodHead) {
		return &Refusal{Code: http.StatusBadRequest, Message: "sluice: what only reads has no body"}
	}
	return nil
}

// hops are the fields that belong to one connection (RFC 9110, section 7.6.1).
var hops = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info",
}

// misleading are fields with which a client tells a server something that is
// not so, or that is settled here: by which way a request came, that it means
// another method or path, in which form the body or the answer is.
var misleading = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Uri",
	"X-Forwarded-Prefix", "X-Real-Ip", "Via", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
	"X-Original-Url", "X-Rewrite-Url", "Expect", "Accept-Encoding", "Content-Encoding", "Content-Length", "Http2-Settings",
	"Cookie", "Cookie2",
}

// removeHops removes what belongs to one connection.
func removeHops(header http.Header) {
	for _, value := range header["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hops {
		header.Del(name)
	}
}

// wantsUpgrade reports whether a request asks for a protocol other than
// HTTP/2, which is agreed in the handshake (RFC 9113, section 3.1).
func wantsUpgrade(header http.Header) bool {
	if !slices.ContainsFunc(tokens(header["Connection"]), func(t string) bool { return strings.EqualFold(t, "upgrade") }) {
		return false
	}
	return slices.ContainsFunc(tokens(header["Upgrade"]), func(t string) bool { return !strings.EqualFold(t, "h2c") })
}

// tokens splits the values of a field that is a list.
func tokens(values []string) (all []string) {
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			if token = strings.TrimSpace(token); token != "" {
				all = append(all, token)
			}
		}
	}
	return all
}

// HostOf is a Host field without its port, in lower case, as operation.HTTP has it.
func HostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func code(status int) string { return strconv.Itoa(status) }

// Outgoing returns an admitted request as the server gets it: with this body,
// what the agent logs in with, and nothing of what belongs to the client's
// connection. The caller adds an Upgrade where it wants one.
func (s *Session) Outgoing(ctx context.Context, r *http.Request, body []byte) *http.Request {
	out := r.Clone(ctx)
	out.RequestURI, out.RemoteAddr, out.TLS, out.Pattern = "", "", nil, ""
	out.URL.Scheme, out.URL.Host = s.servers.scheme, s.servers.address
	out.Host = s.site.Host
	if out.Host == "" {
		out.Host = r.Host
	}
	out.Body, out.GetBody, out.ContentLength, out.Close = http.NoBody, nil, int64(len(body)), false
	if len(body) > 0 {
		out.Body = bodyOf(body)
	}
	removeHops(out.Header)
	if out.Header.Get("User-Agent") == "" {
		out.Header["User-Agent"] = []string{""} // so that none is made up
	}
	if s.site.Login != nil {
		s.site.Login.Authenticate(ctx, out)
	}
	return out
}
