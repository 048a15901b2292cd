package web

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// admit takes from a request what the job authenticates with and what claims to
// be somebody or something else: who acts is known here, and the server knows
// the agent.
func (s *session) admit(r *http.Request) error {
	for _, host := range r.Header["Host"] { // HTTP/2 may have one beside :authority
		if host != r.Host {
			return badRequest("a request has one host")
		}
	}
	delete(r.Header, "Host")
	if err := httpproxy.Meant(s.conn, r.Host); err != nil {
		return err
	}
	r.Host = s.hostOf(r.Host)
	if authenticates(r.URL.RawQuery) {
		return &httpproxy.Refusal{Code: http.StatusBadRequest, Message: "sluice: a query is no place for a credential: the agent logs in", Secret: true}
	}
	for name := range r.Header {
		plain := strings.ReplaceAll(strings.ToLower(name), "_", "-") // CGI takes one for the other
		if isLogin(plain) || isClaim(plain) || strings.EqualFold(plain, s.conn.Credential.Header) {
			delete(r.Header, name)
		}
	}
	s.whole(r)
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", httpproxy.SignedAgent(r.Header.Get("User-Agent"), s.conn.Session))
	return nil
}

// hostOf is a host as the server is asked for it, with the port that it has.
func (s *session) hostOf(asked string) string {
	host, port, usual := httpproxy.HostOf(asked), s.conn.Session.Destination.Port(), uint16(443)
	if s.conn.TLS.Mode == protocol.TLSOff {
		usual = 80
	}
	switch {
	case port != usual:
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

// whole asks for a whole answer in a form that can be looked into. A part of one
// could be the half of what is hidden, and a condition on what is hidden a guess
// at it.
func (s *session) whole(r *http.Request) {
	r.Header.Del("Range")
	r.Header.Del("If-Range")
	if s.conn.Masks.Empty() {
		return
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		r.Header.Del("If-Match")
		r.Header.Del("If-None-Match")
	}
	if len(s.paths) > 0 {
		httpproxy.Narrow(r.Header, func(media string) bool { return isJSON(media) || isSequence(media) || media == "*/*" }, "application/json")
	}
}

// isLogin reports whether a field, in lower case, is one that clients log in
// with.
func isLogin(name string) bool {
	return slices.Contains(logins, name) || slices.ContainsFunc(loginEnds, func(end string) bool { return strings.HasSuffix(name, end) })
}

var logins = []string{
	"authorization", "cookie", "cookie2", "apikey", "api-key", "token", "auth", "password", "jwt", "secret", "session", "sessionid", "fastly-key",
	"x-jfrog-art-api",
}

var loginEnds = []string{
	"-authorization", "-token", "-api-key", "-apikey", "-auth-key", "-access-key", "-secret-key", "-subscription-key", "-private-key", "-secret",
	"-password", "-passwd", "-credential", "-credentials", "-auth", "-jwt", "-session", "-session-id", "-sessionid", "-assertion", "-cookie", "-ticket",
}

// isClaim reports whether a field, in lower case, is one with which proxies tell
// servers whose request it is, or which it really is.
func isClaim(name string) bool {
	return slices.Contains(claims, name) || slices.ContainsFunc(claimBegins, func(begin string) bool { return strings.HasPrefix(name, begin) })
}

var claims = []string{
	"forwarded", "via", "client-ip", "true-client-ip", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-host", "x-override-url", "remote-user",
	"remote-addr", "x-user", "x-username", "x-email", "x-groups", "x-ms-client-principal", "x-method-override",
}

var claimBegins = []string{
	"x-forwarded-", "x-original-", "x-rewrite-", "x-http-method", "x-remote-", "x-auth-", "x-authenticated-", "x-webauth-", "x-ssl-", "ssl-client-",
	"x-client-cert", "x-amzn-oidc-", "x-goog-iap-", "x-goog-authenticated-", "x-ms-client-principal-", "x-ms-token-", "cf-connecting-", "cf-access-",
	"x-envoy-", "proxy-",
}

// authenticates reports whether a query has what clients log in with (RFC 6750,
// section 2.3, and its like).
func authenticates(query string) bool {
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil && slices.Contains(queryLogins, strings.ReplaceAll(strings.ToLower(plain), "-", "_")) {
			return true
		}
	}
	return false
}

var queryLogins = []string{
	"access_token", "auth_token", "private_token", "job_token", "oauth_token", "api_key", "apikey", "api_token", "subscription_key", "id_token", "jwt",
}
