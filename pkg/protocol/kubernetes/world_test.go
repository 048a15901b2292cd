package kubernetes_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/kubernetes"
	"github.com/sluicegate/sluice/pkg/session"
	programs "github.com/sluicegate/sluice/testenv/kubernetes"
)

// world is an API server of this test, whose one pod is this machine, and an
// agent's plug-in in front of it.
type world struct {
	server *podServer
	front  string // address of the plug-in
	guard  *rulebook
	roots  *x509.CertPool
	caFile string
	ended  chan error
	stop   context.CancelCauseFunc // all sessions

	mu   sync.Mutex
	conn protocol.Conn // what sessions get, but for their own legs; guarded by mu
	open []net.Conn    // server legs; guarded by mu
}

type deciding func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) protocol.Decision

// rulebook is a guard with rules in Go. It remembers all that it was asked and
// told.
type rulebook struct {
	decide deciding

	mu  sync.Mutex
	ops []*entry
}

type entry struct {
	op      operation.Operation
	text    string
	streams map[protocol.Stream]string
	sizes   map[protocol.Stream]int
	outcome protocol.Outcome
	ended   bool
	book    *rulebook
}

func (b *rulebook) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	op.ID = uint64(len(b.ops)) + 1
	e := &entry{op: *op, text: string(op.Text.Reveal()), streams: map[protocol.Stream]string{}, sizes: map[protocol.Stream]int{}, book: b}
	b.ops = append(b.ops, e)
	return e, nil
}

func (e *entry) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	if e.op.Kind == operation.Connect {
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
	return e.book.decide(ctx, &e.op, waiting), nil
}

func (e *entry) DecideNow() (protocol.Decision, bool, error) { return protocol.Decision{}, false, nil }

func (e *entry) Record(stream protocol.Stream, _ time.Duration, chunk []byte) error {
	e.book.mu.Lock()
	defer e.book.mu.Unlock()
	if e.ended {
		return fmt.Errorf("operation %d has ended", e.op.ID)
	}
	if e.sizes[stream] += len(chunk); e.sizes[stream] < 1<<20 {
		e.streams[stream] += string(chunk)
	}
	return nil
}

func (e *entry) Digested(stream protocol.Stream, at time.Duration, chunk []byte, _ func() string) error {
	return e.Record(stream, at, chunk)
}

func (e *entry) Done(outcome protocol.Outcome) error {
	e.book.mu.Lock()
	defer e.book.mu.Unlock()
	if e.ended {
		return fmt.Errorf("operation %d ends twice", e.op.ID)
	}
	e.outcome, e.ended = outcome, true
	return nil
}

func (e *entry) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if err := e.Record(protocol.Response, at, chunk); err != nil {
		return err
	}
	return e.Done(outcome)
}

// asked returns what was asked of one kind.
func (b *rulebook) asked(kind operation.Kind) (found []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.ops {
		if e.op.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// one waits for the end of the only operation of a kind.
func (b *rulebook) one(t *testing.T, kind operation.Kind) *entry {
	t.Helper()
	within(t, "an operation ends", func() bool {
		found := b.asked(kind)
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(found) == 1 && found[0].ended
	})
	return b.asked(kind)[0]
}

func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func allow(context.Context, *operation.Operation, func(protocol.Waiting)) protocol.Decision {
	return protocol.Decision{Effect: protocol.Allow}
}

// newWorld starts a server and a plug-in. decide is nil to allow everything.
func newWorld(t *testing.T, decide deciding) *world {
	t.Helper()
	if decide == nil {
		decide = allow
	}
	w := &world{server: newPodServer(), guard: &rulebook{decide: decide}, roots: x509.NewCertPool(), ended: make(chan error, 1024)}
	at := httptest.NewTLSServer(w.server)
	t.Cleanup(at.Close)
	t.Cleanup(at.CloseClientConnections)
	w.roots.AddCert(at.Certificate())
	w.caFile = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(w.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: at.Certificate().Raw}), 0o600))
	server := netip.MustParseAddrPort(at.Listener.Addr().String())
	w.conn = protocol.Conn{
		ClientTLS: &tls.Config{Certificates: at.TLS.Certificates},
		TLS:       protocol.ServerTLS{Config: &tls.Config{RootCAs: w.roots, ServerName: "127.0.0.1"}},
		Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", server.String())
			if err == nil {
				w.mu.Lock()
				w.open = append(w.open, conn)
				w.mu.Unlock()
			}
			return conn, err
		},
		Credential: protocol.Credential{User: "agent", Token: "the-agents"},
		Guard:      w.guard, Masks: &mask.Set{}, MaskKey: []byte("key"), Log: zap.NewNop(),
	}
	w.serve(t, server)
	return w
}

// serve runs a session for each connection.
func (w *world) serve(t *testing.T, server netip.AddrPort) {
	t.Helper()
	plugin, err := kubernetes.New(kubernetes.Options{})
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.front = listener.Addr().String()
	ctx, cancel := context.WithCancelCause(t.Context())
	w.stop = cancel
	var sessions sync.WaitGroup
	t.Cleanup(func() {
		cancel(nil)
		_ = listener.Close()
		sessions.Wait()
		for _, e := range w.guard.ops {
			if !e.ended {
				t.Errorf("never ended: %s %q", e.op.Kind, e.text)
			}
		}
	})
	sessions.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			conn := w.conn
			w.mu.Unlock()
			conn.Client, conn.Session = client, &session.Session{ID: "s1", Destination: server}
			sessions.Go(func() {
				w.ended <- plugin.Serve(ctx, &conn)
				_ = client.Close()
			})
		}
	})
}

// violated waits for a session that ended because of a leg.
func (w *world) violated(t *testing.T, leg protocol.Leg) {
	t.Helper()
	for {
		select {
		case err := <-w.ended:
			if err != nil && strings.HasPrefix(err.Error(), leg.String()+" leg: ") {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no violation of the %s leg was told", leg)
		}
	}
}

// ways are how kubectl opens streams.
var ways = map[string]string{"SPDY": "false", "WebSocket": "true"}

// kubectl returns the client, as a job runs it.
func (w *world) kubectl(t *testing.T, websockets string, args ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(programs.Installed, "kubectl")
	if _, err := os.Stat(path); err != nil {
		built, err := programs.Build(t.Context(), "kubectl")
		must(t, err)
		path = built["kubectl"]
	}
	cmd := exec.CommandContext(t.Context(), path, slices.Concat([]string{
		"--server=https://" + w.front, "--certificate-authority=" + w.caFile, "--token=the-jobs", "--namespace=shop", "--kubeconfig=/dev/null",
	}, args)...)
	cmd.Env = append(os.Environ(), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS="+websockets, "KUBECTL_PORT_FORWARD_WEBSOCKETS="+websockets, "HOME="+t.TempDir())
	return cmd
}
