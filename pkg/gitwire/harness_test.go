package gitwire_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// socketVariable names, for the test binary run as git's ssh, the socket of
// the test that waits for it.
const socketVariable = "GITWIRE_TEST_SOCKET"

func TestMain(m *testing.M) {
	if path := os.Getenv(socketVariable); path != "" {
		os.Exit(beSSH(path))
	}
	os.Exit(run(m))
}

// shared is a directory of all tests.
var shared string

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gitwire-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shared = dir
	return m.Run()
}

// dialled is what git's ssh tells the test.
type dialled struct {
	Line, Protocol string
}

// beSSH is ssh as git runs it: the last argument is the command line.
func beSSH(path string) int {
	conn, err := net.Dial("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 255
	}
	hello, err := json.Marshal(dialled{Line: os.Args[len(os.Args)-1], Protocol: os.Getenv("GIT_PROTOCOL")})
	if err != nil {
		return 255
	}
	if _, err := conn.Write(append(hello, '\n')); err != nil {
		return 255
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		return 1
	}
	return 0
}

// host runs real git services behind gitwire.
type host struct {
	t       *testing.T
	dir     string // of everything
	remote  string // the bare repository
	limits  gitwire.Limits
	version string // caps what protocol the server speaks; empty: as the client asks
	mute    bool   // the server cannot be asked
	answers gitwire.Opener
	room    *gitwire.Room

	guard *guard

	mu    sync.Mutex
	ended []error // guarded by mu
}

func (h *host) socket() string { return filepath.Join(h.dir, "s") }

func (h *host) listen() {
	listener, err := net.Listen("unix", h.socket())
	if err != nil {
		h.t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { h.serve(conn.(*net.UnixConn)) })
		}
	})
	h.t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
}

// serve is what a transport does.
func (h *host) serve(conn *net.UnixConn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line, err := in.ReadBytes('\n')
	var hello dialled
	if err != nil || json.Unmarshal(line, &hello) != nil {
		return
	}
	command, ok := gitwire.ParseCommand(hello.Line)
	if !ok {
		h.note(fmt.Errorf("git ran %q", hello.Line))
		return
	}
	var following sync.WaitGroup
	defer following.Wait()
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := h.start(ctx, command, hello.Protocol)
	if err != nil {
		h.note(err)
		return
	}
	run := gitwire.Run{
		Command: command, Client: in, Go: following.Go, Answer: conn, Server: server, Guard: h.guard, Limits: h.limits, Room: h.room, Workload: 1,
		Open: func(ctx context.Context, c gitwire.Command) (gitwire.Stream, error) {
			return h.start(ctx, c, "version=2")
		},
	}
	if h.mute || h.answers != nil {
		run.Open = h.answers
	}
	_, err = gitwire.Serve(ctx, run)
	h.note(err)
}

func (h *host) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = append(h.ended, err)
}

// start runs a real service.
func (h *host) start(ctx context.Context, c gitwire.Command, wished string) (gitwire.Stream, error) {
	if h.version != "" {
		wished = h.version
	}
	cmd := exec.CommandContext(ctx, "git", strings.TrimPrefix(string(c.Service), "git-"), c.Repository)
	cmd.Env = append(environment(), "GIT_PROTOCOL="+wished)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{ReadCloser: out, in: in, cmd: cmd}, cmd.Start()
}

// process is a service's process as a stream.
type process struct {
	io.ReadCloser
	in   io.WriteCloser
	cmd  *exec.Cmd
	once sync.Once
}

func (p *process) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *process) CloseWrite() error           { return p.in.Close() }
func (p *process) Close() error {
	p.once.Do(func() {
		_ = p.in.Close()
		_ = p.ReadCloser.Close()
		_ = p.cmd.Wait()
	})
	return nil
}

// environment is git's, without what this machine's user has configured.
func environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ada Example", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada Example", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
}

// run runs git in a directory.
func (h *host) run(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(environment(),
		"GIT_SSH="+os.Args[0], "GIT_SSH_VARIANT=ssh", socketVariable+"="+h.socket())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// git runs git and expects it to succeed.
func (h *host) git(dir string, args ...string) string {
	h.t.Helper()
	out, err := h.run(dir, args...)
	if err != nil {
		h.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (h *host) url() string { return "ssh://git.example" + h.remote }

// commit adds one commit and returns its id.
func (h *host) commit(dir, name string) string {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.git(dir, "add", name)
	h.git(dir, "commit", "-q", "-m", "add "+name)
	return h.git(dir, "rev-parse", "HEAD")
}

// at returns what a ref of the bare repository is at; empty: it is not there.
func (h *host) at(ref string) string {
	h.t.Helper()
	out, err := h.run(h.remote, "rev-parse", "-q", "--verify", ref)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// guard answers as a test says and keeps what it was asked.
type guard struct {
	decide func(op *operation.Operation) protocol.Decision // nil: allow
	wait   *protocol.Waiting                               // said before the answer
	full   bool                                            // packs cannot be recorded

	mu       sync.Mutex
	asked    []asked // guarded by mu
	breaches []string
}

// asked is one operation that ended.
type asked struct {
	operation.Operation

	text     string
	request  []byte
	pack     []byte
	digest   string // of the pack, as it is recorded
	objects  []byte
	response []byte
	outcome  protocol.Outcome
}

// Begin implements protocol.Guard.
func (g *guard) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	return &exchange{guard: g, asked: asked{Operation: *op, text: string(op.Text.Reveal())}}, nil
}

var errFull = errors.New("there is no room for records")

type exchange struct {
	guard   *guard
	asked   asked
	decided bool
	allowed bool
	ended   bool
}

// Decide implements protocol.Exchange.
func (x *exchange) Decide(_ context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	x.decided = true
	if x.guard.wait != nil {
		waiting(*x.guard.wait)
	}
	decision := protocol.Decision{Effect: protocol.Allow}
	if x.guard.decide != nil {
		decision = x.guard.decide(&x.asked.Operation)
	}
	x.allowed = decision.Effect == protocol.Allow
	return decision, nil
}

// DecideNow implements protocol.Exchange: nothing is decided at once.
func (*exchange) DecideNow() (decision protocol.Decision, now bool, err error) {
	return protocol.Decision{}, false, nil
}

// Record implements protocol.Exchange.
func (x *exchange) Record(stream protocol.Stream, _ time.Duration, chunk []byte) error {
	if x.ended || !x.decided || stream != protocol.Response && !x.allowed {
		x.guard.breach("a chunk was recorded out of turn")
	}
	switch stream {
	case protocol.Request:
		x.asked.request = append(x.asked.request, chunk...)
	case protocol.Input:
		if x.guard.full {
			return errFull
		}
		x.asked.pack = append(x.asked.pack, chunk...)
	case protocol.Objects:
		if len(chunk) > 32<<10 || chunk[len(chunk)-1] != '\n' {
			x.guard.breach("names are recorded in parts of lines")
		}
		x.asked.objects = append(x.asked.objects, chunk...)
	default:
		x.asked.response = append(x.asked.response, chunk...)
	}
	return nil
}

// Digested implements protocol.Exchange: it is for packs, whose digest is known.
func (x *exchange) Digested(stream protocol.Stream, at time.Duration, chunk []byte, sum func() string) error {
	x.asked.digest = sum()
	return x.Record(stream, at, chunk)
}

// Done implements protocol.Exchange.
func (x *exchange) Done(outcome protocol.Outcome) error {
	if x.ended || !x.decided {
		x.guard.breach("an operation ended out of turn")
	}
	if digest := sha256.Sum256(x.asked.pack); x.asked.digest != "" && outcome.Status == protocol.OK && x.asked.digest != protocol.Whole+hex.EncodeToString(digest[:]) {
		x.guard.breach("a pack has another digest than is recorded")
	}
	x.ended = true
	x.asked.outcome = outcome
	x.guard.mu.Lock()
	defer x.guard.mu.Unlock()
	x.guard.asked = append(x.guard.asked, x.asked)
	return nil
}

// Finish implements protocol.Exchange.
func (x *exchange) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if err := x.Record(protocol.Response, at, chunk); err != nil {
		return err
	}
	return x.Done(outcome)
}

func (g *guard) breach(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.breaches = append(g.breaches, text)
}

// last returns the last operation, and fails without one.
func (g *guard) last(t *testing.T) asked {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.breaches) > 0 {
		t.Fatal(g.breaches)
	}
	if len(g.asked) == 0 {
		t.Fatal("nothing was asked")
	}
	return g.asked[len(g.asked)-1]
}

// keygen makes an SSH key without a passphrase.
func (h *host) keygen(path string) {
	h.t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		h.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}

// exitCode is a command's status.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}
