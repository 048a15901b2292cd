package httpproxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/session"
)

const soon = 10 * time.Second

// rig is an engine between a client and a server of a test.
type rig struct {
	journal protocoltest.Journal
	engine  *Engine
	site    Site
	conn    func(*protocol.Conn) // adjusts; may be nil
	login   bool                 // the agent logs in, with the Conn's credential
	server  string               // its address
	roots   *x509.CertPool       // of both legs
	pair    tls.Certificate
	dials   atomic.Int64
}

// newRig makes one whose server runs handler over HTTP/1.1 and HTTP/2.
func newRig(t testing.TB, handler http.HandlerFunc) *rig {
	t.Helper()
	r := bareRig(t)
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{r.pair}}
	server.Config.ErrorLog = silent()
	server.StartTLS()
	t.Cleanup(server.Close)
	r.server = server.Listener.Addr().String()
	return r
}

// rawRig makes one whose server is a function for each connection.
func rawRig(t *testing.T, serve func(conn net.Conn, in *bufio.Reader)) *rig {
	t.Helper()
	r := bareRig(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{r.pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r.server = listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			}()
		}
	}()
	return r
}

func bareRig(t testing.TB) *rig {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"server.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{engine: New(), roots: x509.NewCertPool(), pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	r.roots.AddCert(leaf)
	r.site = Site{
		Classify: func(r *http.Request, _ []byte) (operation.Operation, error) {
			return operation.Operation{Parsed: true, ReadOnly: r.Method == http.MethodGet}, nil
		},
		Refuse: func(w http.ResponseWriter, _ *http.Request, refusal *Refusal) {
			http.Error(w, refusal.Message, refusal.Code)
		},
	}
	return r
}

// open begins a session, whose client leg it returns. ended has what Serve
// returns.
func (r *rig) open(t testing.TB) (client net.Conn, ended chan error, stop context.CancelCauseFunc) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := &protocol.Conn{
		Session: &session.Session{ID: "test", Resource: "resource", Destination: netip.MustParseAddrPort(r.server)},
		Client:  far,
		Dial: func(ctx context.Context) (net.Conn, error) {
			r.dials.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", r.server)
		},
		ClientTLS: &tls.Config{Certificates: []tls.Certificate{r.pair}},
		TLS:       protocol.ServerTLS{Config: &tls.Config{RootCAs: r.roots, ServerName: "server.example"}},
		Guard:     &r.journal,
		Masks:     &mask.Set{},
		Log:       zap.NewNop(),
	}
	if r.conn != nil {
		r.conn(conn)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	ended = make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		site := r.site
		if r.login {
			site.Login = NewLogin(conn)
		}
		err := r.engine.Serve(ctx, conn, site)
		_ = far.Close()
		ended <- err
	}()
	t.Cleanup(func() {
		_ = client.Close()
		stop(nil)
		select {
		case <-over:
		case <-time.After(soon):
			t.Error("the session does not end")
		}
	})
	return client, ended, stop
}

// secure is open, with TLS for one protocol.
func (r *rig) secure(t *testing.T, alpn string) *tls.Conn {
	t.Helper()
	client, _, _ := r.open(t)
	return r.over(t, client, alpn)
}

func (r *rig) over(t *testing.T, client net.Conn, alpn string) *tls.Conn {
	t.Helper()
	conn := tls.Client(client, &tls.Config{RootCAs: r.roots, ServerName: "server.example", NextProtos: []string{alpn}})
	_ = conn.SetDeadline(time.Now().Add(soon))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != alpn {
		t.Fatalf("speaks %q", got)
	}
	return conn
}

// client is net/http's, each connection of which is a session.
func (r *rig) client(t testing.TB, http2 bool) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: r.roots, ServerName: "server.example"}, Protocols: protocols, DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, _, _ := r.open(t)
			return client, nil
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// raw sends bytes over HTTP/1.1 and returns what comes back until the leg ends,
// or the first answer with its body.
func (r *rig) raw(t *testing.T, request string) (answer string) {
	t.Helper()
	conn := r.secure(t, "http/1.1")
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }()
	in := bufio.NewReader(conn)
	got, err := http.ReadResponse(in, nil)
	for err == nil && got.StatusCode == http.StatusContinue {
		_ = got.Body.Close()
		got, err = http.ReadResponse(in, nil)
	}
	if err != nil {
		return err.Error()
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		return got.Status + " " + err.Error()
	}
	return got.Status + " " + strings.TrimSpace(string(body))
}

// both runs a test over both versions of HTTP.
func both(t *testing.T, test func(t *testing.T, http2 bool)) {
	t.Run("HTTP/1.1", func(t *testing.T) { test(t, false) })
	t.Run("HTTP/2", func(t *testing.T) { test(t, true) })
}

// dialled gives a client the connection that is there.
func dialled(conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return conn, nil }
}
