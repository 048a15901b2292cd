package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	sessions "github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/trust"
	"github.com/sluicegate/sluice/testenv/kubernetes"
)

// through is the plug-in on an address of its own, in front of a real API
// server.
type through struct {
	journal protocoltest.Journal
	address string
	caFile  string
	roots   *x509.CertPool
	adjust  func(*protocol.Conn) // may be nil
	env     []string             // of its clients

	ended chan string // the id of the first session that did

	wait sync.WaitGroup
	mu   sync.Mutex
	errs []error // of sessions; guarded by mu
}

// cluster is the API server that all tests of the package share.
var cluster struct {
	once   sync.Once
	server *kubernetes.Server
	err    error
}

// apiserver starts it.
func apiserver(t *testing.T) *kubernetes.Server {
	t.Helper()
	cluster.once.Do(func() {
		programs, err := kubernetes.Build(t.Context(), "etcd", "kube-apiserver")
		if err != nil {
			cluster.err = err
			return
		}
		dir, err := os.MkdirTemp("", "cluster")
		if err != nil {
			cluster.err = err
			return
		}
		cluster.server, cluster.err = kubernetes.Start(t.Context(), kubernetes.Config{
			Dir: dir, Programs: programs, Address: "127.0.0.1", Names: []string{"kube.example"}, Flags: kubernetes.Small,
			Users: []kubernetes.User{{Name: "agent", Token: agentToken, Groups: []string{"system:masters"}}},
		})
	})
	if cluster.err != nil {
		t.Fatal(cluster.err)
	}
	return cluster.server
}

const agentToken = "the-agents-own-token"

func TestMain(m *testing.M) {
	code := m.Run()
	if cluster.server != nil {
		_ = cluster.server.Stop()
		_ = os.RemoveAll(filepath.Dir(cluster.server.CAFile))
	}
	os.Exit(code)
}

// serve puts the plug-in in front of the server.
func serve(t *testing.T, adjust func(*protocol.Conn)) *through {
	t.Helper()
	server := apiserver(t)
	plugin, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	signs, cert := authority(t)
	w := &through{ended: make(chan string, 1), caFile: filepath.Join(t.TempDir(), "ca.pem"), roots: x509.NewCertPool(), adjust: adjust}
	w.roots.AppendCertsFromPEM(cert)
	if err := os.WriteFile(w.caFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			w.wait.Go(func() { w.session(ctx, plugin, server, signs, client) })
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		cancel()
		w.wait.Wait()
	})
	return w
}

// session serves one connection.
func (w *through) session(ctx context.Context, plugin protocol.Protocol, server *kubernetes.Server, signs *trust.Authority, client net.Conn) {
	defer client.Close()
	address := netip.MustParseAddrPort(server.URL[len("https://"):])
	conn := &protocol.Conn{
		Session:   &sessions.Session{ID: sessions.NewID(), Resource: "cluster", Protocol: Name, Destination: address},
		Client:    client,
		ClientTLS: signs.Config([]string{"kube.example"}, address.Addr()),
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address.String())
		},
		TLS:        protocol.ServerTLS{Config: &tls.Config{RootCAs: server.Roots, ServerName: "kube.example", MinVersion: tls.VersionTLS12}},
		Names:      []string{"kube.example"},
		Credential: protocol.Credential{User: "agent", Token: agentToken},
		Guard:      &w.journal,
		Masks:      &mask.Set{},
		Log:        zap.NewNop(),
	}
	if w.adjust != nil {
		w.adjust(conn)
	}
	err := plugin.Serve(ctx, conn)
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.ended <- conn.Session.ID:
	default: // nobody asked
	}
	w.errs = append(w.errs, err)
}
