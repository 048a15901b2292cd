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
	"github.com/sluicegate/sluice/pkg/session"
)

// world is a real git server behind the plug-in, and a real client.
type world struct {
	dir    string
	addr   string // of the plug-in
	decide func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) protocol.Decision

	finish func() // ends all sessions

	mu       sync.Mutex
	seen     []*http.Request // at the server; guarded by mu
	asked    []*exchange     // guarded by mu
	sessions []error         // how they ended; guarded by mu
}

const (
	serverUser, serverPassword = "app", "the-agents-own"
	jobPassword                = "the-jobs-own"
)

func newWorld(t *testing.T, decide func(context.Context, *operation.Operation, func(protocol.Waiting)) protocol.Decision) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), decide: decide}
	if w.decide == nil {
		w.decide = func(context.Context, *operation.Operation, func(protocol.Waiting)) protocol.Decision {
			return protocol.Decision{Effect: protocol.Allow}
		}
	}
	w.mustGit(t, "", "init", "-q", "--bare", "-b", "main", "srv/shop.git")
	w.mustGit(t, "srv/shop.git", "config", "http.receivepack", "true")
	w.mustGit(t, "srv/shop.git", "config", "receive.advertisePushOptions", "true")
	w.mustGit(t, "", "init", "-q", "-b", "main", "work")
	server := httptest.NewUnstartedServer(w.backend(t))
	server.EnableHTTP2 = true
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
				Guard:      w, Masks: &mask.Set{}, Log: zap.NewNop(),
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
		for _, x := range w.asked {
			if !x.ended {
				t.Errorf("operation %q was never done", x.op.Text.Reveal())
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

// exchange is one operation that was asked about.
type exchange struct {
	world *world
	op    operation.Operation

	mu       sync.Mutex
	allowed  bool             // guarded by mu
	ended    bool             // guarded by mu
	streams  map[string]int   // bytes by stream; guarded by mu
	outcome  protocol.Outcome // guarded by mu
	breaches []string         // guarded by mu
}

// Begin implements protocol.Guard.
func (w *world) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	op.ID = uint64(len(w.asked) + 1)
	x := &exchange{world: w, op: *op, streams: map[string]int{}}
	w.asked = append(w.asked, x)
	return x, nil
}

// Decide implements protocol.Exchange.
func (x *exchange) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	if err := ctx.Err(); err != nil {
		return protocol.Decision{}, err
	}
	decision := x.world.decide(ctx, &x.op, waiting)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.allowed = decision.Effect == protocol.Allow
	return decision, nil
}

// DecideNow implements protocol.Exchange: everything takes time.
func (x *exchange) DecideNow() (protocol.Decision, bool, error) {
	return protocol.Decision{}, false, nil
}

// Record implements protocol.Exchange.
func (x *exchange) Record(stream protocol.Stream, _ time.Duration, chunk []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended || !x.allowed && stream != protocol.Response {
		x.breaches = append(x.breaches, "a chunk came out of turn")
	}
	x.streams[string(stream)] += len(chunk)
	return nil
}

// Digested implements protocol.Exchange.
func (x *exchange) Digested(stream protocol.Stream, at time.Duration, chunk []byte, _ func() string) error {
	return x.Record(stream, at, chunk)
}

// Done implements protocol.Exchange.
func (x *exchange) Done(outcome protocol.Outcome) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		x.breaches = append(x.breaches, "it ended twice")
	}
	x.ended, x.outcome = true, outcome
	return nil
}

// Finish implements protocol.Exchange.
func (x *exchange) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if err := x.Record(protocol.Response, at, chunk); err != nil {
		return err
	}
	return x.Done(outcome)
}

// last returns the last operation of a kind that has ended.
func (w *world) last(t *testing.T, kind operation.Kind) *exchange {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.asked) - 1; i >= 0; i-- {
		if w.asked[i].op.Kind == kind {
			return w.asked[i]
		}
	}
	t.Fatalf("nothing of kind %s was asked", kind)
	return nil
}
