package ssh_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// dial connects a client of golang.org/x/crypto/ssh.
func (w *world) dial(t *testing.T, method xssh.AuthMethod) *xssh.Client {
	t.Helper()
	client, err := xssh.Dial("tcp", w.front.String(), &xssh.ClientConfig{
		User: "job", Auth: []xssh.AuthMethod{method}, HostKeyCallback: xssh.InsecureIgnoreHostKey(), //nolint:gosec // OpenSSH's tests check it
	})
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestAnyLoginIsAcceptedAndGoesNowhere(t *testing.T) {
	w := newWorld(t, nil)
	_, signer := newKey(t)
	for name, method := range map[string]xssh.AuthMethod{
		"password": xssh.Password("the job's own secret"), "key": xssh.PublicKeys(signer),
	} {
		session, err := w.dial(t, method).NewSession()
		must(t, err)
		out, err := session.Output("id -un")
		if err != nil || string(out) != "root\n" {
			t.Errorf("%s: got %q, %v", name, out, err)
		}
	}
	text, err := os.ReadFile(w.path("sshd.log"))
	must(t, err)
	if !strings.Contains(string(text), `ID "sluice/`) {
		t.Error("the server's log does not name the session")
	}
	for _, e := range w.guard.asked(operation.Connect) {
		if strings.Contains(e.text, "secret") || strings.Contains(string(e.op.Bytes), "secret") {
			t.Errorf("the password is in %q", e.text)
		}
	}
}

func TestServerThatIsNotKnownIsNotSpokenTo(t *testing.T) {
	w := newWorld(t, nil)
	_, other := newKey(t)
	w.change(func(conn *protocol.Conn) {
		conn.KnownHosts = fmt.Appendf(nil, "[127.0.0.1]:%d %s", w.server.Port(), xssh.MarshalAuthorizedKey(other.PublicKey()))
	})
	_, errs, code := w.ssh(t, "", "touch "+w.path("marker"))
	if code != 255 || !strings.Contains(errs, "host key is not among the known hosts") {
		t.Errorf("got %q, %d", errs, code)
	}
	text, err := os.ReadFile(w.path("sshd.log"))
	must(t, err)
	if strings.Contains(string(text), "Accepted") {
		t.Error("somebody was logged in")
	}
	if err := <-w.ended; err == nil || !strings.Contains(err.Error(), "known hosts") {
		t.Errorf("the session ended as %v", err)
	}
}

func TestSecretsInStreamsAreHidden(t *testing.T) {
	w := newWorld(t, nil)
	w.change(func(conn *protocol.Conn) {
		conn.Masks = &mask.Set{Detect: []mask.Detection{{Detector: mask.GitHubToken, Mask: "tokens", Method: mask.Redact}}}
	})
	const token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
	script := "printf 'a ghp_0123456789abcdef'; sleep 0.05; printf 'ghijABCDEFGHIJ012345 b\\n'; printf '" + token + "\\n' >&2"
	out, errs, code := w.ssh(t, "", script)
	if out != "a [redacted] b\n" || errs != "[redacted]\n" || code != 0 {
		t.Errorf("got %q, %q, %d", out, errs, code)
	}
	e := w.guard.asked(operation.Exec)[0]
	if string(e.streams[protocol.Response]) != out || string(e.streams[protocol.Errors]) != errs || e.outcome.Masked != 2 {
		t.Errorf("recorded %q, %d masked", e.streams, e.outcome.Masked)
	}
	w.write(t, "file", []byte(token))
	if _, errs, code := w.run(t, "", "scp", "-qF", "@config", "ssh.lab:"+w.path("file"), w.path("stolen")); code == 0 || !strings.Contains(errs, `mask "tokens"`) {
		t.Errorf("a file was read: %q, %d", errs, code)
	}
	out, _, _ = w.ssh(t, "", "printf prompt; sleep 1; echo")
	if out != "prompt\n" {
		t.Errorf("got %q", out)
	}
}

// One gibibyte in each direction, and the agent's memory stays where it is.
func TestBulkTakesNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it moves two gibibytes")
	}
	w := newWorld(t, nil)
	var most uint64
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		ticks := time.NewTicker(50 * time.Millisecond)
		defer ticks.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-done:
				return
			case <-ticks.C:
			}
		}
	})
	const size = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf(
		"head -c %d /dev/zero | ssh -F %s ssh.lab wc -c; ssh -F %s ssh.lab 'head -c %d /dev/zero' | wc -c", size, w.client, w.client, size)).CombinedOutput() //nolint:gosec // of this test
	close(done)
	watching.Wait()
	if want := fmt.Sprintf("%d\n%d\n", size, size); err != nil || string(out) != want {
		t.Errorf("got %q, %v", out, err)
	}
	if most > 96<<20 {
		t.Errorf("the heap grew to %d MiB", most>>20)
	}
	t.Logf("the heap grew to %d MiB", most>>20)
}

func TestManyChannelsAtOnceEachGetTheirOwn(t *testing.T) {
	w := newWorld(t, nil)
	client := w.dial(t, xssh.Password("x"))
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			session, err := client.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			session.Stdin = strings.NewReader(strings.Repeat(fmt.Sprintln(i), 20000))
			out, err := session.Output("cat")
			if err != nil || string(out) != strings.Repeat(fmt.Sprintln(i), 20000) {
				t.Errorf("channel %d got %d bytes, %v", i, len(out), err)
			}
		})
	}
	all.Wait()
}

func TestFloodsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	client := w.dial(t, xssh.Password("x"))
	opened, refused := 0, 0
	for range 100 {
		if _, _, err := client.OpenChannel("session", nil); err != nil {
			refused++
			continue
		}
		opened++
	}
	if opened > 64 || refused < 36 {
		t.Errorf("%d channels opened", opened)
	}
	if _, _, err := client.OpenChannel("x11", nil); err == nil {
		t.Error("a channel of an unknown type was opened")
	}
	for range 1000 {
		if ok, _, err := client.SendRequest("unknown@example.com", false, nil); ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	if ok, _, err := client.SendRequest("streamlocal-forward@openssh.com", true, xssh.Marshal(struct{ Path string }{"/x"})); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	must(t, client.Close())
	for range 50 { // connections that say nothing, or nonsense
		conn, err := net.Dial("tcp", w.front.String())
		must(t, err)
		_, _ = io.WriteString(conn, "SSH-2.0-x\r\n\xff\xff\xff\xff nonsense")
		_ = conn.Close()
	}
	if out, errs, code := w.ssh(t, "", "echo still here"); out != "still here\n" {
		t.Errorf("got %q, %q, %d", out, errs, code)
	}
}

func TestTerminalsAndSignalsFollowTheClient(t *testing.T) {
	w := newWorld(t, nil)
	client := w.dial(t, xssh.Password("x"))
	defer client.Close()
	terminal, err := client.NewSession()
	must(t, err)
	must(t, terminal.RequestPty("xterm", 24, 80, nil))
	in, err := terminal.StdinPipe() // at its end sshd would forget the terminal
	must(t, err)
	defer in.Close()
	out, err := terminal.StdoutPipe()
	must(t, err)
	must(t, terminal.Start(`stty size; while [ "$(stty size)" = "24 80" ]; do sleep 0.1; done; stty size`))
	lines := bufio.NewScanner(out)
	if lines.Scan(); lines.Text() != "24 80" {
		t.Errorf("the terminal was %q", lines.Text())
	}
	must(t, terminal.WindowChange(50, 132))
	if lines.Scan(); lines.Text() != "50 132" {
		t.Errorf("the terminal became %q", lines.Text())
	}
	must(t, terminal.Wait())
	if sizes := string(w.guard.asked(operation.Exec)[0].streams[protocol.Size]); sizes != "80x24132x50" {
		t.Errorf("its sizes are recorded as %q", sizes)
	}

	program, err := client.NewSession()
	must(t, err)
	out, err = program.StdoutPipe()
	must(t, err)
	must(t, program.Start("echo ready; sleep 10"))
	lines = bufio.NewScanner(out)
	if lines.Scan(); lines.Text() != "ready" {
		t.Fatalf("it said %q", lines.Text())
	}
	must(t, program.Signal(xssh.SIGUSR1))
	waitFor(t, "the signal at the server, which delivers none to root's programs", func() bool {
		log, err := os.ReadFile(w.path("sshd.log"))
		return err == nil && strings.Contains(string(log), "session signalling requires privilege separation")
	})
}

// sshd(8) delivers signals to the programs of whoever is not root.
func TestSignalsReachTheProgramAndItsEndComesBack(t *testing.T) {
	w := newWorld(t, nil, asDeploy)
	client := w.dial(t, xssh.Password("x"))
	defer client.Close()
	start := func(line string) (*xssh.Session, *bufio.Scanner) {
		t.Helper()
		program, err := client.NewSession()
		must(t, err)
		out, err := program.StdoutPipe()
		must(t, err)
		must(t, program.Start(line))
		lines := bufio.NewScanner(out)
		if lines.Scan(); lines.Text() != "ready" {
			t.Fatalf("it said %q", lines.Text())
		}
		return program, lines
	}
	var ended *xssh.ExitError
	program, lines := start(`trap 'echo "caught it as $(id -un)"; exit 9' TERM; echo ready; while :; do sleep 0.1; done`)
	must(t, program.Signal(xssh.SIGTERM))
	if lines.Scan(); lines.Text() != "caught it as deploy" {
		t.Errorf("it said %q", lines.Text())
	}
	if err := program.Wait(); !errors.As(err, &ended) || ended.ExitStatus() != 9 {
		t.Errorf("it ended as %v", err)
	}
	program, _ = start("echo ready; exec sleep 60")
	must(t, program.Signal(xssh.SIGKILL))
	if err := program.Wait(); !errors.As(err, &ended) || ended.Signal() != "KILL" {
		t.Errorf("it ended as %v", err)
	}
	ran := w.guard.asked(operation.Exec)
	for i, want := range []string{"exit 9", "signal KILL"} {
		waitFor(t, "the end of the program", func() bool {
			return !slices.Contains(w.guard.open(), fmt.Sprintf("%s %q", operation.Exec, ran[i].text))
		})
		if code := ran[i].outcome.Code; code != want {
			t.Errorf("recorded as %q, want %q", code, want)
		}
	}
}
