package web_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/protocol/web"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/trust"
)

const (
	host       = "api.example"
	agentToken = "the-agents-own-token"
	jobToken   = "the-jobs-own-token"
	soon       = 20 * time.Second
)

// world is the plug-in on an address of its own, in front of a real server.
type world struct {
	journal protocoltest.Journal
	address string // of the plug-in
	caFile  string
	roots   *x509.CertPool
	adjust  func(*protocol.Conn) // may be nil

	mu   sync.Mutex
	seen []*http.Request // at the server, with their bodies read; guarded by mu
}

// authority signs what jobs are shown, and the server's own certificate.
func authority(t *testing.T) (signs *trust.Authority, certificate []byte) {
	t.Helper()
	bounds := trust.Constraints{Names: []string{host, "other.example"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	certificate, key, err := trust.New(bounds, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if signs, err = trust.Load(certificate, key); err != nil {
		t.Fatal(err)
	}
	return signs, certificate
}

// serve puts the plug-in in front of a server with TLS that speaks both versions.
func serve(t *testing.T, handler http.HandlerFunc, adjust func(*protocol.Conn)) *world {
	t.Helper()
	return serveOver(t, handler, true, adjust)
}

func serveOver(t *testing.T, handler http.HandlerFunc, secure bool, adjust func(*protocol.Conn)) *world {
	t.Helper()
	w := &world{caFile: filepath.Join(t.TempDir(), "ca.pem"), roots: x509.NewCertPool(), adjust: adjust}
	signs, cert := authority(t)
	w.roots.AppendCertsFromPEM(cert)
	if err := os.WriteFile(w.caFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		w.mu.Lock()
		w.seen = append(w.seen, r)
		w.mu.Unlock()
		handler(rw, r)
	}))
	if secure {
		server.TLS = signs.Config([]string{host}, netip.MustParseAddr("127.0.0.1"))
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = listener.Addr().String()
	plugin := web.New(web.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { w.session(ctx, plugin, server, signs, client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		cancel()
		wait.Wait()
	})
	return w
}

// session serves one connection.
func (w *world) session(ctx context.Context, plugin protocol.Protocol, server *httptest.Server, signs *trust.Authority, client net.Conn) {
	defer client.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	conn := &protocol.Conn{
		Session:   &session.Session{ID: session.NewID(), Resource: "api", Protocol: web.Name, Destination: address},
		Client:    client,
		ClientTLS: signs.Config([]string{host}, address.Addr()),
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address.String())
		},
		TLS:        protocol.ServerTLS{Config: &tls.Config{RootCAs: w.roots, ServerName: host, MinVersion: tls.VersionTLS12}},
		Names:      []string{host},
		Credential: protocol.Credential{User: "agent", Token: agentToken},
		Guard:      &w.journal,
		Masks:      &mask.Set{},
		MaskKey:    []byte("a key of a test"),
		Log:        zap.NewNop(),
	}
	if server.TLS == nil {
		conn.TLS = protocol.ServerTLS{Mode: protocol.TLSOff}
	}
	if w.adjust != nil {
		w.adjust(conn)
	}
	_ = plugin.Serve(ctx, conn)
}

// requests are those that reached the server.
func (w *world) requests() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*http.Request(nil), w.seen...)
}

// client is net/http's.
func (w *world) client(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.roots, ServerName: host}, Protocols: protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answered is what a client got.
type answered struct {
	status int
	header http.Header
	body   string
	err    error
}

// do sends a request with fields, "Name: value" each.
func do(t *testing.T, client *http.Client, method, target, body string, fields ...string) (got answered) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header[name] = append(r.Header[name], value)
		if name == "Host" {
			r.Host = value
			delete(r.Header, name)
		}
	}
	answer, err := client.Do(r)
	if err != nil {
		return answered{err: err}
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answered{answer.StatusCode, answer.Header, string(all), err}
}

// raw sends bytes over HTTP/1.1 and returns the first answer.
func (w *world) raw(t *testing.T, request string) (answer string) {
	t.Helper()
	conn, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots, ServerName: host, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon))
	_, _ = io.WriteString(conn, request)
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err.Error()
	}
	defer got.Body.Close()
	body, _ := io.ReadAll(got.Body)
	return got.Status + " " + strings.TrimSpace(string(body))
}

// curl runs it as a job would.
func (w *world) curl(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	_, port, err := net.SplitHostPort(w.address)
	if err != nil {
		t.Fatal(err)
	}
	base := []string{"-sS", "--max-time", "20", "--cacert", w.caFile, "--connect-to", host + "::127.0.0.1:" + port, "-H", "Authorization: Bearer " + jobToken}
	text, err := exec.CommandContext(t.Context(), "curl", append(base, args...)...).CombinedOutput()
	return string(text), err
}

// both runs a test over both versions of HTTP.
func both(t *testing.T, test func(t *testing.T, http2 bool)) {
	t.Run("HTTP/1.1", func(t *testing.T) { test(t, false) })
	t.Run("HTTP/2", func(t *testing.T) { test(t, true) })
}

// nowhere looks for a value in all that was recorded.
func (w *world) nowhere(t *testing.T, values ...string) {
	t.Helper()
	for _, e := range w.journal.Entries() {
		recorded := e.Text
		for _, text := range e.Streams {
			recorded += text
		}
		for _, value := range values {
			if strings.Contains(recorded, value) {
				t.Errorf("%q is in the record %q", value, recorded)
			}
		}
	}
}
