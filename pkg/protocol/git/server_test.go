package git_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
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
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/git"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/session"
)

// world is a real git server behind the plug-in, and a real client.
type world struct {
	dir   string
	addr  string // of the plug-in
	guard *protocoltest.Journal

	finish func() // ends all sessions

	mu       sync.Mutex
	seen     []*http.Request // at the server; guarded by mu
	sessions []error         // how they ended; guarded by mu
}

const (
	serverUser, serverPassword = "app", "the-agents-own"
	jobPassword                = "the-jobs-own"
)

// newWorld starts both. decide is nil to allow everything.
func newWorld(t *testing.T, decide func(context.Context, *operation.Operation) protocol.Decision) *world {
	t.Helper()
	return newWorldOver(t, true, decide)
}

// newWorldOver is newWorld whose server may speak HTTP/1.1 alone.
func newWorldOver(t *testing.T, http2 bool, decide func(context.Context, *operation.Operation) protocol.Decision) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), guard: &protocoltest.Journal{Decide: decide}}
	w.mustGit(t, "", "init", "-q", "--bare", "-b", "main", "srv/shop.git")
	w.mustGit(t, "srv/shop.git", "config", "http.receivepack", "true")
	w.mustGit(t, "srv/shop.git", "config", "receive.advertisePushOptions", "true")
	w.mustGit(t, "", "init", "-q", "-b", "main", "work")
	server := httptest.NewUnstartedServer(w.backend(t))
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	w.listen(t, server)
	return w
}

// backend is git's own server, for whoever has the agent's password.
func (w *world) backend(t *testing.T) http.Handler {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Root: "/",
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Join(w.dir, "srv"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + w.dir},
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.seen = append(w.seen, r)
		w.mu.Unlock()
		user, password, _ := r.BasicAuth()
		if user != serverUser || password != serverPassword {
			rw.Header().Set("WWW-Authenticate", `Basic realm="shop"`)
			http.Error(rw, "who are you?", http.StatusUnauthorized)
			return
		}
		inner := r.Clone(r.Context())
		inner.TransferEncoding = nil // net/http/cgi takes no chunks, but a body of any length
		inner.Header.Set("Git-Protocol", r.Header.Get("Git-Protocol"))
		host := *backend
		host.Env = append(append([]string(nil), backend.Env...), "REMOTE_USER="+user, "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
		host.ServeHTTP(rw, inner)
	})
}

// listen serves clients with the plug-in.
func (w *world) listen(t *testing.T, server *httptest.Server) {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = listener.Addr().String()
	plugin := git.New(git.Options{PackDir: w.dir})
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	shown := w.certificate(t)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for n := 0; ; n++ {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			conn := &protocol.Conn{
				Session: &session.Session{ID: "s1", Destination: netip.MustParseAddrPort(server.Listener.Addr().String())},
				Client:  client, ClientTLS: &tls.Config{Certificates: []tls.Certificate{shown}, MinVersion: tls.VersionTLS12},
				Dial: func(ctx context.Context) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
				},
				TLS:        protocol.ServerTLS{Config: &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}},
				Names:      []string{"127.0.0.1"},
				Credential: protocol.Credential{User: serverUser, Password: serverPassword},
				Guard:      w.guard, Masks: &mask.Set{}, Log: zap.NewNop(),
			}
			serving.Go(func() {
				err := plugin.Serve(ctx, conn)
				w.mu.Lock()
				defer w.mu.Unlock()
				w.sessions = append(w.sessions, err)
			})
		}
	})
	w.finish = func() {
		_ = listener.Close()
		cancel()
		serving.Wait()
	}
	t.Cleanup(func() {
		w.finish()
		for _, e := range w.guard.Entries() {
			if !e.Ended {
				t.Errorf("operation %q was never done", e.Text)
			}
		}
	})
}

// certificate is what the plug-in shows. The client finds its authority in
// ca.pem.
func (w *world) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agent"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// url is the repository as the job names it, with a password of its own.
func (w *world) url() string { return "https://job:" + jobPassword + "@" + w.addr + "/shop.git" }

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// git runs git as a job would.
func (w *world) git(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.path(dir)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_SSL_CAINFO=" + w.path("ca.pem"), "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada Example", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada Example", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func (w *world) mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, code := w.git(t, dir, args...)
	if code != 0 {
		t.Fatalf("git %q: %d\n%s", args, code, out)
	}
	return strings.TrimSpace(out)
}

// commit adds a commit.
func (w *world) commit(t *testing.T, message string) {
	t.Helper()
	w.mustGit(t, "work", "commit", "-q", "--allow-empty", "-m", message)
}

// last returns the last operation of a kind.
func (w *world) last(t *testing.T, kind operation.Kind) protocoltest.Entry {
	t.Helper()
	all := w.guard.Entries()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Op.Kind == kind {
			return all[i]
		}
	}
	t.Fatalf("nothing of kind %s was asked", kind)
	return protocoltest.Entry{}
}
