package postgres_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/postgres"
	"github.com/sluicegate/sluice/pkg/session"
)

// binaries returns the directory of the newest server on this machine.
func binaries() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // fails for a bad pattern only
	if len(found) == 0 {
		return "/usr/lib/postgresql"
	}
	return found[len(found)-1]
}

// server is a real PostgreSQL of this test binary's own.
type server struct {
	port  int
	dir   string
	roots *x509.CertPool // of its certificate, for the name pg.example
}

var (
	serverOnce sync.Once
	shared     *server
	serverErr  error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		shared.stop()
	}
	os.Exit(code)
}

// realServer starts PostgreSQL the first time it is called. The job's role
// is app; it logs in with SCRAM.
func realServer(t testing.TB) *server {
	t.Helper()
	serverOnce.Do(func() { shared, serverErr = startServer() })
	if serverErr != nil {
		t.Fatalf("start PostgreSQL: %v", serverErr)
	}
	return shared
}

func startServer() (*server, error) {
	dir, err := os.MkdirTemp("", "sluice-postgres-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := s.run("initdb", "-D", data, "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "--pwfile", s.secret("admin")); err != nil {
		return nil, err
	}
	if s.roots, err = writeCertificate(dir); err != nil {
		return nil, err
	}
	options := fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60 -c ssl=on"+
		" -c ssl_cert_file=%s/server.crt -c ssl_key_file=%s/server.key -c ssl_ca_file=%s/server.crt", s.port, dir, dir, dir, dir)
	if err := s.run("pg_ctl", "-D", data, "-w", "-l", filepath.Join(dir, "log"), "-o", options, "start"); err != nil {
		return nil, err
	}
	return s, s.sql("postgres", `CREATE ROLE app LOGIN PASSWORD 'app-secret'`, `CREATE DATABASE shop OWNER app`)
}

func (s *server) secret(password string) string {
	path := filepath.Join(s.dir, "password")
	_ = os.WriteFile(path, []byte(password+"\n"), 0o644) // initdb complains if it is not there
	return path
}

// run runs one of PostgreSQL's own programs as the user postgres.
func (s *server) run(program string, args ...string) error {
	cmd := exec.Command("setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--clear-groups", filepath.Join(binaries(), program)}, args...)...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

// sql runs statements as the administrator, around the agent.
func (s *server) sql(database string, statements ...string) error {
	args := []string{"-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "postgres", database}
	for _, statement := range statements {
		args = append(args, "-c", statement)
	}
	cmd := exec.Command("psql", args...)
	cmd.Env = append(os.Environ(), "PGPASSWORD=admin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	return nil
}

// query returns what the administrator's query gives.
func (s *server) query(statement string) (string, error) { return s.queryIn("postgres", statement) }

func (s *server) queryIn(database, statement string) (string, error) {
	return s.queryAs("postgres", "admin", database, statement)
}

func (s *server) queryAs(user, password, database, statement string) (string, error) {
	cmd := exec.Command("psql", "-X", "-At", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", user, "-c", statement, database)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	out, err := cmd.Output()
	return string(out), err
}

// reloaded reports whether the server has read its configuration after the
// last change of pg_hba.conf.
func (s *server) reloaded() bool {
	info, err := os.Stat(filepath.Join(s.dir, "data", "pg_hba.conf"))
	if err != nil {
		return false
	}
	out, err := s.query(fmt.Sprintf("SELECT pg_conf_load_time() > to_timestamp(%d / 1000000.0)", info.ModTime().UnixMicro()))
	return err == nil && out == "t\n"
}

func (s *server) stop() {
	if err := s.run("pg_ctl", "-D", filepath.Join(s.dir, "data"), "-m", "immediate", "-w", "stop"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(s.dir) // what is left of it is in the temporary directory
}

// guard answers by a function, or allows, and keeps what it saw.
type guard struct {
	decide func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) (protocol.Decision, error)

	mu       sync.Mutex
	last     uint64
	seen     []operation.Operation // guarded by mu; text and parameters copied
	outcomes map[uint64]protocol.Outcome
	recorded bytes.Buffer
}

type exchange struct {
	guard *guard
	op    *operation.Operation
	id    uint64
}

func (g *guard) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	op.ID = g.last
	kept := *op
	kept.Text, kept.Source = bytes.Clone(op.Text), bytes.Clone(op.Source)
	kept.Params = nil
	for _, p := range op.Params {
		p.Text = bytes.Clone(p.Text)
		kept.Params = append(kept.Params, p)
	}
	if op.SQL != nil {
		kept.SQL = &operation.SQL{Statements: append([]operation.SQLStatement(nil), op.SQL.Statements...)}
	}
	g.seen = append(g.seen, kept)
	return &exchange{guard: g, op: op, id: op.ID}, nil
}

func (e *exchange) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	if e.guard.decide == nil {
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
	return e.guard.decide(ctx, e.op, waiting)
}

// DecideNow lets what only reads pass at once, unless a function decides.
func (e *exchange) DecideNow() (protocol.Decision, bool, error) {
	return protocol.Decision{Effect: protocol.Allow}, e.guard.decide == nil && e.op.ReadOnly, nil
}

func (e *exchange) Digested(stream protocol.Stream, at time.Duration, chunk []byte, _ func() string) error {
	return e.Record(stream, at, chunk)
}

func (e *exchange) Record(stream protocol.Stream, _ time.Duration, chunk []byte) error {
	if stream == protocol.Request && e.op.SealedRequest || stream == protocol.Response && e.op.SealedResponse {
		return nil // by digest and size
	}
	e.guard.mu.Lock()
	defer e.guard.mu.Unlock()
	if e.guard.recorded.Len() < 1<<20 {
		e.guard.recorded.Write(chunk)
	}
	return nil
}

func (e *exchange) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if err := e.Record(protocol.Response, at, chunk); err != nil {
		return err
	}
	return e.Done(outcome)
}

func (e *exchange) Done(outcome protocol.Outcome) error {
	e.guard.mu.Lock()
	defer e.guard.mu.Unlock()
	if e.guard.outcomes == nil {
		e.guard.outcomes = make(map[uint64]protocol.Outcome)
	}
	if _, twice := e.guard.outcomes[e.id]; twice {
		return fmt.Errorf("operation %d is done twice", e.id)
	}
	e.guard.outcomes[e.id] = outcome
	return nil
}

// proxy is the plug-in between a listener and the real server.
type proxy struct {
	port  int
	guard *guard
	errs  chan error
	netns atomic.Uint64 // of sessions from now on

	mu   sync.Mutex
	seen bytes.Buffer // guarded by mu; what clients received, if tapped
}

// received returns what clients received since the last call.
func (p *proxy) received() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := bytes.Clone(p.seen.Bytes())
	p.seen.Reset()
	return b
}

type proxyOptions struct {
	decide      func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error)
	masks       []mask.Column
	paths       []mask.Path
	detect      []mask.Detection
	maskKey     []byte
	sqlRules    bool
	observe     bool
	tapped      bool
	key         []byte // with certificate, in PEM
	certificate []byte
	statements  int
	clientTLS   *tls.Config
	tls         protocol.ServerTLS
	dial        func(context.Context) (net.Conn, error) // instead of the server itself
	user        string
	password    string
	choose      func(by protocol.Start) (resource string, err error)
}

func startProxy(t testing.TB, s *server, o proxyOptions) *proxy {
	t.Helper()
	if o.tls.Config == nil {
		o.tls.Mode = protocol.TLSOff
	}
	if o.user == "" {
		o.user, o.password = "app", "app-secret"
	}
	plugin, err := plugin()
	if o.statements > 0 {
		plugin, err = postgres.New(postgres.Options{MaxStatements: o.statements})
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{port: l.Addr().(*net.TCPAddr).Port, guard: &guard{decide: o.decide}, errs: make(chan error, 1024)}
	ctx, cancel := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				err := plugin.Serve(ctx, p.conn(client, s, o))
				select {
				case p.errs <- err:
				default:
				}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		sessions.Wait()
	})
	return p
}

func (p *proxy) conn(client net.Conn, s *server, o proxyOptions) *protocol.Conn {
	destination := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.port))
	if o.tapped {
		client = p.tapped(client)
	}
	opened := &session.Session{ID: session.NewID(), Resource: "shop-db", Protocol: "postgres", Destination: destination, Started: time.Now()}
	opened.Workload.Kernel.NetnsCookie = p.netns.Load()
	dial := o.dial
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", destination.String())
		}
	}
	whole := &protocol.Conn{
		Session:    opened,
		Client:     client,
		Dial:       dial,
		ClientTLS:  o.clientTLS,
		TLS:        o.tls,
		Credential: protocol.Credential{User: o.user, Password: o.password, Key: o.key, Certificate: o.certificate},
		Guard:      p.guard,
		Masks:      &mask.Set{Columns: o.masks, Paths: o.paths, Detect: o.detect},
		MaskKey:    o.maskKey,
		SQLRules:   o.sqlRules,
		Observe:    o.observe,
		Log:        zap.NewNop(),
	}
	if o.choose == nil {
		return whole
	}
	return undecided(whole, o.choose)
}

// psql runs psql as a job would, with a password that is not the server's.
func (p *proxy) psql(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command("psql", append([]string{"-X", "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "job", "shop"}, args...)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD=what the job believes", "PGCONNECT_TIMEOUT=10")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
