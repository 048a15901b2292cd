package httpproxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

// wiretap is a server that keeps the bytes that reached it and answers each
// request that it reads.
type wiretap struct {
	mu  sync.Mutex
	got bytes.Buffer // guarded by mu
}

func (w *wiretap) serve(conn net.Conn, _ *bufio.Reader) {
	in := bufio.NewReader(io.TeeReader(conn, w))
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

// Write implements io.Writer.
func (w *wiretap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.Write(p)
}

func (w *wiretap) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.String()
}

// TestServerGetsOneReadingOnly sends what two servers could read differently.
// Either it is refused, or the server gets bytes that have one reading.
func TestServerGetsOneReadingOnly(t *testing.T) {
	const line = "POST /a HTTP/1.1\r\nHost: server.example\r\n"
	for name, test := range map[string]struct{ request, answer, server string }{
		"content length and chunks":   {line + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", "", "Content-Length: 1\r\n\r\nx"},
		"two lengths":                 {line + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "400", ""},
		"a list of lengths":           {line + "Content-Length: 1, 1\r\n\r\nx", "400", ""},
		"a signed length":             {line + "Content-Length: +1\r\n\r\nx", "400", ""},
		"chunked twice":               {line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "400", ""},
		"another coding":              {line + "Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "400", ""},
		"a coding in disguise":        {line + "Transfer-Encoding: \x0bchunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "400", ""},
		"a space before the colon":    {line + "Content-Length : 1\r\n\r\nx", "400", ""},
		"a folded line":               {line + "X-One: a\r\n b\r\nContent-Length: 1\r\n\r\nx", "", "X-One: a b\r\n"},
		"a chunk with an extension":   {line + "Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n", "200", "Content-Length: 1\r\n\r\nx"},
		"a chunk that ends bare":      {line + "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", "400", ""},
		"a negative chunk":            {line + "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n", "400", ""},
		"a trailer":                   {line + "Trailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Late: 1\r\n\r\n", "400", ""},
		"a trailer that nobody named": {line + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Late: 1\r\n\r\n", "400", ""},
		"a tunnel":                    {"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n", "405", ""},
		"a trace":                     {"TRACE / HTTP/1.1\r\nHost: server.example\r\n\r\n", "405", ""},
		"an unknown method":           {"BREW / HTTP/1.1\r\nHost: server.example\r\n\r\n", "405", ""},
		"another host's target":       {"GET https://other.example/ HTTP/1.1\r\nHost: server.example\r\n\r\n", "400", ""},
		"its own absolute target":     {"GET https://server.example/ HTTP/1.1\r\nHost: server.example\r\n\r\n", "400", ""},
		"the server itself":           {"OPTIONS * HTTP/1.1\r\nHost: server.example\r\n\r\n", "400", ""},
		"a target that is not one":    {"GET /a\"b HTTP/1.1\r\nHost: server.example\r\n\r\n", "400", ""},
		"a fragment":                  {"GET /a#b HTTP/1.1\r\nHost: server.example\r\n\r\n", "400", ""},
		"no host":                     {"GET / HTTP/1.1\r\n\r\n", "400", ""},
		"two hosts":                   {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", ""},
		"a body with a get":           {"GET / HTTP/1.1\r\nHost: server.example\r\nContent-Length: 1\r\n\r\nx", "400", ""},
		"a compressed body":           {line + "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "415", ""},
		"two content types":           {line + "Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 1\r\n\r\nx", "400", ""},
		"another host":                {"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", "200", "Host: known.example\r\n"},
		"http/2 without tls":          {"GET / HTTP/1.1\r\nHost: server.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", "200", "GET / HTTP/1.1\r\nHost: known.example\r\n"},
		"another protocol":            {"GET / HTTP/1.1\r\nHost: server.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "501", ""},
		"an expectation":              {line + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", "200", "Content-Length: 1\r\n"},
		"another expectation":         {line + "Expect: the-worst\r\nContent-Length: 1\r\n\r\nx", "417", ""},
		"http/0.9":                    {"GET /\r\n\r\n", "400", ""},
		"http/2's preface":            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tap := &wiretap{}
			r := rawRig(t, tap.serve)
			r.site.Host = "known.example"
			answer := r.raw(t, test.request)
			if !strings.HasPrefix(answer, test.answer) {
				t.Errorf("answered %q", answer)
			}
			got := tap.String()
			if (test.server == "") != (got == "") || !strings.Contains(got, test.server) {
				t.Errorf("the server got %q", got)
			}
			if strings.Contains(got, "/smuggled") && !r.journal.Await(func(all []protocoltest.Entry) bool { return len(all) == 2 && all[1].Op.HTTP.Path == "/smuggled" }) {
				t.Error("what stands behind the chunks went there unasked")
			}
			for _, never := range []string{"Transfer-Encoding", "Upgrade", "HTTP2", "Expect", "X-Late"} {
				if strings.Contains(strings.ToLower(got), strings.ToLower(never)) {
					t.Errorf("the server got %q", got)
				}
			}
		})
	}
}

func TestFieldsOfTheClientsConnectionStay(t *testing.T) {
	tap := &wiretap{}
	r := rawRig(t, tap.serve)
	r.site.Classify = func(r *http.Request, _ []byte) (operation.Operation, error) {
		if r.Header.Get("Content-Type") != "" {
			t.Error("what is asked about is not what the server gets")
		}
		return operation.Operation{Parsed: true}, nil
	}
	r.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, Content-Type, X-Mine\r\nContent-Type: text/plain\r\nX-Mine: 1\r\n"+
		"Keep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nX-Forwarded-For: 192.0.2.1\r\n"+
		"Forwarded: for=192.0.2.1\r\nCookie: a=b\r\nAccept-Encoding: gzip\r\nX-Kept: 1\r\nContent-Length: 1\r\n\r\nx")
	want := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX-Kept: 1\r\n\r\nx"
	if got := tap.String(); got != want {
		t.Errorf("the server got %q, want %q", got, want)
	}
}
