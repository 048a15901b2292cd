package httpproxy

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// plainRig is an engine in front of a server without TLS.
func plainRig(t *testing.T, handler http.HandlerFunc) *rig {
	t.Helper()
	r := bareRig(t)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	r.server = server.Listener.Addr().String()
	r.site.Plain = true
	r.conn = func(c *protocol.Conn) { c.TLS = protocol.ServerTLS{Mode: protocol.TLSOff} }
	return r
}

func TestServerWithoutTLSIsServedToClientsWithAndWithout(t *testing.T) {
	r := plainRig(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Method + " " + r.URL.Path)) })
	client, _, _ := r.open(t)
	_ = client.SetDeadline(time.Now().Add(soon))
	in := bufio.NewReader(client)
	for _, path := range []string{"/first", "/second"} { // over one connection
		_, _ = io.WriteString(client, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || string(body) != "GET "+path || answer.Body.Close() != nil {
			t.Errorf("%q %v", body, err)
		}
	}
	both(t, func(t *testing.T, http2 bool) {
		if status, _, text, err := do(t, r.client(t, http2), "GET", "/secure", ""); err != nil || status != 200 || text != "GET /secure" {
			t.Errorf("%d %q %v", status, text, err)
		}
	})
}

func TestWhatIsNoHTTPIsNoneWithoutTLSEither(t *testing.T) {
	r := plainRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
	for _, first := range []string{"\x00\x00\x00\x08\x04\xd2\x16\x2f", "\xff\xff\xff", "get / HTTP/1.1\r\n\r\n", " GET / HTTP/1.1\r\n\r\n"} {
		client, ended, _ := r.open(t)
		_, _ = io.WriteString(client, first)
		var violation *protocol.Violation
		if err := <-ended; !errors.As(err, &violation) {
			t.Errorf("%q is no violation: %v", first, err)
		}
	}
	for first, want := range map[string]string{http2.ClientPreface: "", "SSH-2.0-OpenSSH_9.2\r\n\r\n": "400", "GET /\r\n\r\n": "400"} {
		client, _, _ := r.open(t)
		_, _ = io.WriteString(client, first)
		_ = client.SetReadDeadline(time.Now().Add(soon))
		if answer, err := io.ReadAll(client); err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%q is answered %q %v", first, answer, err)
		}
	}
}

func TestClientThatAsksForTLSWhereThereIsNoneIsCutOff(t *testing.T) {
	r := plainRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
	adjust := r.conn
	r.conn = func(c *protocol.Conn) { adjust(c); c.ClientTLS = nil }
	client, ended, _ := r.open(t)
	_, _ = io.WriteString(client, "\x16\x03\x01\x02\x00\x01")
	var violation *protocol.Violation
	if err := <-ended; !errors.As(err, &violation) {
		t.Error(err)
	}
}

// TestSilentClientWithoutTLSEnds in the time of a handshake, and with its
// session.
func TestSilentClientWithoutTLSEnds(t *testing.T) {
	r := plainRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
	_, ended, stop := r.open(t)
	stop(protocol.ErrStopped)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.engine.patience.grace = 10 * time.Millisecond
	_, ended, _ = r.open(t)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
