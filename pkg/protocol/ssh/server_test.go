package ssh_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net"
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
	xssh "golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/ssh"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/trust"
)

// world is a real sshd(8) of this test, and an agent's plug-in in front of it.
type world struct {
	dir     string
	server  netip.AddrPort // of sshd
	front   netip.AddrPort // of the plug-in
	guard   *rulebook
	connMu  sync.Mutex
	conn    protocol.Conn // what sessions get, but for their own legs; guarded by connMu
	plugin  protocol.Protocol
	client  string // ssh_config(5) of a job
	ended   chan error
	hostKey xssh.PublicKey
	hosts   *trust.HostAuthority
}

// rulebook is a guard with rules in Go. It remembers all that it was asked and
// told.
type rulebook struct {
	decide func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) protocol.Decision

	mu   sync.Mutex
	last uint64
	ops  []*entry
}

type entry struct {
	op      operation.Operation
	text    string
	streams map[protocol.Stream][]byte
	sizes   map[protocol.Stream]int64
	digests map[protocol.Stream]string // of what is not kept
	outcome protocol.Outcome
	ended   bool
	book    *rulebook
}

// keptBytes is what the rulebook keeps of a stream.
const keptBytes = 1 << 20

func (b *rulebook) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	op.ID = b.last
	e := &entry{op: *op, text: string(op.Text.Reveal()), streams: map[protocol.Stream][]byte{}, sizes: map[protocol.Stream]int64{}, digests: map[protocol.Stream]string{}, book: b}
	b.ops = append(b.ops, e)
	return e, nil
}

func (e *entry) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	return e.book.decide(ctx, &e.op, waiting), nil
}

func (e *entry) DecideNow() (protocol.Decision, bool, error) {
	return protocol.Decision{}, false, nil
}

func (e *entry) Record(stream protocol.Stream, _ time.Duration, chunk []byte) error {
	e.book.mu.Lock()
	defer e.book.mu.Unlock()
	if e.ended {
		return fmt.Errorf("operation %d has ended", e.op.ID)
	}
	e.sizes[stream] += int64(len(chunk))
	if len(e.streams[stream]) < keptBytes {
		e.streams[stream] = append(e.streams[stream], chunk...)
	}
	return nil
}

func (e *entry) Digested(stream protocol.Stream, at time.Duration, chunk []byte, sum func() string) error {
	e.digests[stream] = sum()
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

// open returns what never ended.
func (b *rulebook) open() (texts []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.ops {
		if !e.ended {
			texts = append(texts, fmt.Sprintf("%s %q", e.op.Kind, e.text))
		}
	}
	return texts
}

func allow(context.Context, *operation.Operation, func(protocol.Waiting)) protocol.Decision {
	return protocol.Decision{Effect: protocol.Allow}
}

// newWorld starts a server and a plug-in. decide is nil to allow everything.
func newWorld(t *testing.T, decide func(context.Context, *operation.Operation, func(protocol.Waiting)) protocol.Decision, config ...string) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("REQUIRE_ROOT") != "" {
			t.Fatal("sshd has to run as root")
		}
		t.Skip("sshd has to run as root")
	}
	if decide == nil {
		decide = allow
	}
	w := &world{dir: t.TempDir(), guard: &rulebook{decide: decide}, ended: make(chan error, 1024)}
	t.Cleanup(func() { // after all sessions have ended
		if open := w.guard.open(); len(open) > 0 {
			t.Errorf("never ended: %v", open)
		}
	})
	w.startServer(t, config)
	w.startFront(t)
	return w
}

func newKey(t *testing.T) (key []byte, signer xssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	block, err := xssh.MarshalPrivateKey(private, "")
	must(t, err)
	signer, err = xssh.NewSignerFromKey(private)
	must(t, err)
	return pem.EncodeToMemory(block), signer
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(t *testing.T, name string, text []byte) string {
	t.Helper()
	must(t, os.WriteFile(w.path(name), text, 0o600))
	return w.path(name)
}

// asDeploy among a server's configuration lets the agent in as a user who is not root.
const asDeploy = "AsDeploy"

// startServer runs sshd on a port of its own, which lets in who shows a
// certificate of the agent's user authority, or its key.
func (w *world) startServer(t *testing.T, more []string) {
	t.Helper()
	host, hostSigner := newKey(t)
	authority, authoritySigner := newKey(t)
	_, signer := newKey(t)
	w.hostKey = hostSigner.PublicKey()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.server = netip.MustParseAddrPort(free.Addr().String())
	must(t, free.Close())
	config := fmt.Sprintf(`ListenAddress %s
HostKey %s
TrustedUserCAKeys %s
AuthorizedKeysFile %s
PidFile none
LogLevel VERBOSE
PasswordAuthentication no
PermitRootLogin yes
UsePAM no
StrictModes no
MaxStartups 200
MaxSessions 100
AcceptEnv LANG LC_* SLUICE_TEST
Subsystem sftp internal-sftp
`, w.server, w.write(t, "host", host), w.write(t, "authority.pub", xssh.MarshalAuthorizedKey(authoritySigner.PublicKey())),
		w.write(t, "authorized", xssh.MarshalAuthorizedKey(signer.PublicKey())))
	for _, line := range more {
		if name, _, _ := strings.Cut(line, " "); name == "AcceptEnv" {
			config += line + "\n"
		}
	}
	must(t, os.MkdirAll("/run/sshd", 0o755))
	user, argv := "root", []string{"/usr/sbin/sshd", "-D", "-e", "-f", w.write(t, "sshd_config", []byte(config))}
	if slices.Contains(more, asDeploy) {
		user = "deploy"
		passwd := w.write(t, "passwd", []byte("root:*:0:0:root:/:/bin/sh\nsshd:*:65534:65534::/run/sshd:/usr/sbin/nologin\ndeploy:*:64544:64544::/:/bin/sh\n"))
		must(t, os.Chmod(passwd, 0o644))
		argv = append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", `mount --bind "$0" /etc/passwd && exec "$@"`, passwd}, argv...)
	}
	server := exec.Command(argv[0], argv[1:]...)
	log, err := os.Create(w.path("sshd.log")) // with -E, children that end later would make it again
	must(t, err)
	server.Stderr = log
	must(t, server.Start())
	must(t, log.Close())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(w.path("sshd.log"))
			t.Logf("sshd:\n%s", text[max(0, len(text)-4000):])
		}
	})
	waitFor(t, "sshd", func() bool {
		conn, err := net.Dial("tcp", w.server.String())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	w.conn = protocol.Conn{
		Credential: protocol.Credential{User: user, Authority: authority},
		KnownHosts: fmt.Appendf(nil, "[127.0.0.1]:%d %s", w.server.Port(), xssh.MarshalAuthorizedKey(w.hostKey)),
		Names:      []string{"ssh.lab"},
		Masks:      &mask.Set{},
		Log:        zap.NewNop(),
	}
}

// startFront serves connections as the agent does.
func (w *world) startFront(t *testing.T) {
	t.Helper()
	var err error
	w.plugin, err = ssh.New(ssh.Options{})
	must(t, err)
	secret, _, err := trust.NewHostAuthority()
	must(t, err)
	hosts, err := trust.LoadHostAuthority(secret)
	must(t, err)
	w.hosts = hosts
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.front = netip.MustParseAddrPort(listener.Addr().String())
	known, err := hosts.KnownHosts([]trust.Place{{Hosts: trust.Constraints{Names: w.conn.Names}, Port: 22}})
	must(t, err)
	w.client = w.write(t, "ssh_config", fmt.Appendf(nil, `Host ssh.lab
  HostName 127.0.0.1
  HostKeyAlias ssh.lab
  Port %d
  User anybody
  GlobalKnownHostsFile %s
  UserKnownHostsFile /dev/null
  BatchMode yes
`, w.front.Port(), w.write(t, "known_hosts", known)))
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { w.ended <- w.serve(ctx, client) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		serving.Wait()
	})
}

// change changes what sessions get from now on.
func (w *world) change(how func(conn *protocol.Conn)) {
	w.connMu.Lock()
	defer w.connMu.Unlock()
	how(&w.conn)
}

func (w *world) serve(ctx context.Context, client net.Conn) error {
	w.connMu.Lock()
	conn := w.conn
	w.connMu.Unlock()
	conn.Session = &session.Session{ID: session.NewID(), Destination: w.server}
	conn.Client, conn.Guard, conn.HostKeys = client, w.guard, w.hostKeys
	conn.Dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", w.server.String())
	}
	defer client.Close()
	return w.plugin.Serve(ctx, &conn)
}

func (w *world) hostKeys() ([]trust.HostKey, error) {
	return w.hosts.HostKeys([]string{"ssh.lab"}, w.front.Addr())
}

// log is what the server says.
func (w *world) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(w.path("sshd.log"))
	must(t, err)
	return string(text)
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for deadline := time.Now().Add(20 * time.Second); !done(); <-ticks.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// run runs a program of a job; "@config" stands for its ssh_config(5).
func (w *world) run(t *testing.T, stdin string, argv ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	argv = slices.Clone(argv)
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "@config", w.client)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "LANG=C.UTF-8", "TERM=xterm"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// ssh runs ssh(1) as a job would.
func (w *world) ssh(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return w.run(t, stdin, append([]string{"ssh", "-F", "@config", "ssh.lab"}, args...)...)
}
