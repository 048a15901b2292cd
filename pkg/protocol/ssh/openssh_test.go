package ssh_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

func TestOpenSSHRunsACommand(t *testing.T) {
	w := newWorld(t, nil)
	out, errs, code := w.ssh(t, "input\n", "cat; echo problem >&2; exit 7")
	if out != "input\n" || errs != "problem\n" || code != 7 {
		t.Fatalf("got %q, %q, %d", out, errs, code)
	}
	ran := w.guard.asked(operation.Exec)
	if len(ran) != 1 {
		t.Fatalf("%d commands were asked about", len(ran))
	}
	e := ran[0]
	if e.text != "cat; echo problem >&2; exit 7" || e.op.Context.Role != "root" || !e.op.Parsed {
		t.Errorf("asked %q as %q, parsed %v", e.text, e.op.Context.Role, e.op.Parsed)
	}
	if string(e.streams[protocol.Input]) != "input\n" || string(e.streams[protocol.Response]) != "input\n" || string(e.streams[protocol.Errors]) != "problem\n" {
		t.Errorf("recorded %q", e.streams)
	}
	if e.outcome.Status != protocol.Failed || e.outcome.Code != "exit 7" {
		t.Errorf("it ended as %+v", e.outcome)
	}
	if logins := w.guard.asked(operation.Connect); len(logins) != 1 || !strings.Contains(logins[0].text, `"anybody"`) {
		t.Errorf("logins: %v", logins)
	}
}

// What OpenSSH does by default, and often, gives the same as directly.
func TestOpenSSHSessions(t *testing.T) {
	w := newWorld(t, nil)
	for _, test := range []struct {
		name, stdin string
		args        []string
		out         string
		code        int
	}{
		{name: "a signal ends the program", args: []string{"kill -TERM $$"}, code: 255},
		{name: "a shell without a terminal", stdin: "echo from $0 | tr -d -; exit 3\n", out: "from bash\n", code: 3},
		{name: "a shell with a terminal", stdin: "stty size; exit 4\n", args: []string{"-tt"}, out: "*0 0*", code: 4},
		{name: "an environment variable", args: []string{"-o", "SetEnv=SLUICE_TEST=there", "printenv SLUICE_TEST"}, out: "there\n"},
		{name: "one that the server does not take", args: []string{"-o", "SetEnv=OTHER=there", "printenv OTHER"}, code: 1},
		{name: "keepalive", args: []string{"-o", "ServerAliveInterval=1", "sleep 2.5; echo awake"}, out: "awake\n"},
		{name: "compression is not there and not missed", args: []string{"-C", "echo plain"}, out: "plain\n"},
		{name: "compression by the configuration, with each kind of algorithms", args: []string{"-o", "Compression=yes", "-c", "aes256-gcm@openssh.com", "-o", "KexAlgorithms=ecdh-sha2-nistp521", "echo plain"}, out: "plain\n"},
		{name: "compression, and a MAC beside the cipher", args: []string{"-o", "Compression=yes", "-c", "aes128-ctr", "-m", "hmac-sha2-512", "-o", "KexAlgorithms=diffie-hellman-group14-sha256", "wc -c"}, stdin: strings.Repeat("x", 1<<20), out: fmt.Sprintln(1 << 20)},
		{name: "agent and X11 forwarding are refused", args: []string{"-A", "-X", "printenv SSH_AUTH_SOCK DISPLAY; echo none"}, out: "none\n"},
		{name: "re-keying", stdin: strings.Repeat("x", 3<<20), args: []string{"-o", "RekeyLimit=256K", "wc -c"}, out: fmt.Sprintln(3 << 20)},
		{name: "re-keying of output", args: []string{"-o", "RekeyLimit=256K", "head -c 3000000 /dev/zero | wc -c; head -c 3000000 /dev/zero | tr '\\0' x | tail -c 1"}, out: "3000000\nx"},
		{name: "no input", args: []string{"-n", "cat; echo end"}, out: "end\n"},
		{name: "half close", stdin: "a\nb\n", args: []string{"sort -r; sleep 0.2; echo late"}, out: "b\na\nlate\n"},
		{name: "an unknown command", args: []string{"no-such-program"}, code: 127},
		{name: "any user", args: []string{"-l", "somebody", "id -un"}, out: "root\n"},
		{name: "chacha is not offered", args: []string{"-c", "chacha20-poly1305@openssh.com", "true"}, code: 255},
		{name: "AES-CTR", args: []string{"-c", "aes256-ctr", "-m", "hmac-sha2-256-etm@openssh.com", "true"}},
		{name: "an RSA host certificate", args: []string{"-o", "HostKeyAlgorithms=rsa-sha2-512-cert-v01@openssh.com", "true"}},
		{name: "an ECDSA host certificate", args: []string{"-o", "HostKeyAlgorithms=ecdsa-sha2-nistp256-cert-v01@openssh.com", "true"}},
		{name: "a bare host key", args: []string{"-o", "HostKeyAlgorithms=ssh-ed25519", "true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, errs, code := w.ssh(t, test.stdin, test.args...)
			inside, within := strings.CutPrefix(test.out, "*")
			if code != test.code || !within && out != test.out || within && !strings.Contains(out, strings.TrimSuffix(inside, "*")) {
				t.Errorf("got %.200q, %.300q, %d", out, errs, code)
			}
		})
	}
}

// OpenSSH's own order would have AES-CTR and HMAC-SHA-256, which take a second
// look at each byte.
func TestOpenSSHSpeaksGCM(t *testing.T) {
	w := newWorld(t, nil)
	_, errs, _ := w.ssh(t, "", "-v", "true")
	for _, direction := range []string{"server->client", "client->server"} {
		if !strings.Contains(errs, direction+" cipher: aes128-gcm@openssh.com") {
			t.Errorf("%s is another: %.3000q", direction, errs)
		}
	}
}

func TestOpenSSHIsRefusedInWords(t *testing.T) {
	w := newWorld(t, func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if strings.Contains(string(op.Text.Reveal()), "forbidden") || op.Kind == operation.Shell {
			return protocol.Decision{Rule: "no-such-thing", Reason: "Not for pipelines."}
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	marker := w.path("marker")
	for _, args := range [][]string{{"touch " + marker + "; echo forbidden"}, {"-tt"}, {}} {
		out, errs, code := w.ssh(t, "touch "+marker+"\n", args...)
		if code != 1 || !strings.Contains(errs, `sluice: refused by rule "no-such-thing": Not for pipelines.`) || out != "" {
			t.Errorf("%v: got %q, %q, %d", args, out, errs, code)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("it ran")
	}
	// The connection goes on for other channels.
	socket := w.master(t)
	if _, _, code := w.ssh(t, "", "-S", socket, "echo forbidden"); code != 1 {
		t.Errorf("refused with %d", code)
	}
	if out, errs, code := w.ssh(t, "", "-S", socket, "echo fine"); out != "fine\n" || code != 0 {
		t.Errorf("after a refusal: got %q, %q, %d", out, errs, code)
	}
	if logins := w.guard.asked(operation.Connect); len(logins) != 4 {
		t.Errorf("%d logins", len(logins))
	}
}

func TestOpenSSHLoginRefused(t *testing.T) {
	w := newWorld(t, func(context.Context, *operation.Operation, func(protocol.Waiting)) protocol.Decision {
		return protocol.Decision{Rule: "nobody", Reason: "Closed."}
	})
	_, errs, code := w.ssh(t, "", "true")
	if code != 255 || !strings.Contains(errs, `refused by rule "nobody": Closed.`) || !strings.Contains(errs, "Permission denied") {
		t.Errorf("got %q, %d", errs, code)
	}
	if n := len(w.guard.asked(operation.Connect)); n != 1 {
		t.Errorf("it was asked about %d times", n)
	}
}

func TestOpenSSHWaits(t *testing.T) {
	released := make(chan protocol.Decision)
	waited := make(chan struct{}, 100)
	w := newWorld(t, func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) protocol.Decision {
		if op.Kind != operation.Exec {
			return protocol.Decision{Effect: protocol.Allow}
		}
		waiting(protocol.Waiting{Approval: 7, Rule: "ask", Reason: "A person decides.", Link: "http://console"})
		waited <- struct{}{}
		select {
		case d := <-released:
			return d
		case <-ctx.Done():
			return protocol.Decision{Reason: "the client withdrew it"}
		}
	})
	go func() {
		<-waited
		released <- protocol.Decision{Effect: protocol.Allow, Approval: 7, Decider: "ada"}
		<-waited
		released <- protocol.Decision{Approval: 8, Decider: "ada", Reason: "No."}
	}()
	out, errs, code := w.ssh(t, "input", "cat")
	if out != "input" || code != 0 || !strings.Contains(errs, `waiting for approval #7 by rule "ask": A person decides. (decide at http://console)`) ||
		!strings.Contains(errs, "approval #7: approved by ada") {
		t.Errorf("got %q, %q, %d", out, errs, code)
	}
	out, errs, code = w.ssh(t, "input", "cat")
	if out != "" || code != 1 || !strings.Contains(errs, "approval #8, decided by ada: No.") {
		t.Errorf("got %q, %q, %d", out, errs, code)
	}
	// A client that leaves withdraws.
	cmd := exec.Command("ssh", "-F", w.client, "ssh.lab", "touch "+w.path("marker"))
	must(t, cmd.Start())
	<-waited
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	waitFor(t, "the end of the operation", func() bool { return len(w.guard.open()) == 0 })
	last := w.guard.asked(operation.Exec)[2]
	if last.outcome.Status != protocol.Refused {
		t.Errorf("it ended as %+v", last.outcome)
	}
	if _, err := os.Stat(w.path("marker")); err == nil {
		t.Error("it ran")
	}
}

func TestFilesAreCopied(t *testing.T) {
	w := newWorld(t, nil)
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * i >> 3)
	}
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	source := w.write(t, "source", content)
	for _, test := range []struct {
		name string
		argv []string
		to   string
		says bool // the record has the digest
	}{
		{"scp up", []string{"scp", "-qF", "@config", source, "ssh.lab:" + w.path("a")}, "a", true},
		{"scp down", []string{"scp", "-qF", "@config", "ssh.lab:" + source, w.path("b")}, "b", true},
		{"old scp up", []string{"scp", "-OqF", "@config", source, "ssh.lab:" + w.path("c")}, "c", true},
		{"old scp down", []string{"scp", "-OqF", "@config", "ssh.lab:" + source, w.path("d")}, "d", true},
		{"rsync up", []string{"rsync", "-e", "ssh -F @config", source, "ssh.lab:" + w.path("e")}, "e", false},
		{"rsync down", []string{"rsync", "-e", "ssh -F @config", "ssh.lab:" + source, w.path("f")}, "f", false},
		{"sftp program", []string{"sftp", "-qF", "@config", "-s", "/usr/lib/openssh/sftp-server", "ssh.lab:" + source, w.path("g")}, "g", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, programs := len(w.guard.asked(operation.File)), len(w.guard.asked(operation.Exec))
			_, errs, code := w.run(t, "", test.argv...)
			got, err := os.ReadFile(w.path(test.to))
			if code != 0 || err != nil || string(got) != string(content) {
				t.Fatalf("got %d bytes, %v, %q, %d", len(got), err, errs, code)
			}
			found := slices.ContainsFunc(w.guard.asked(operation.File)[before:], func(e *entry) bool {
				recorded := e.digests[protocol.Input] + e.digests[protocol.Response]
				return strings.Contains(e.outcome.Tag, digest) && !strings.Contains(e.outcome.Tag, "order") && recorded == protocol.SoFar+digest
			})
			found = found || slices.ContainsFunc(w.guard.asked(operation.Exec)[programs:], func(e *entry) bool {
				return strings.HasSuffix(e.outcome.Tag, " source: 3145728 bytes, sha256:"+digest)
			})
			if found != test.says {
				t.Errorf("the digest is recorded: %v", found)
			}
		})
	}
}

func TestSFTPRequestsAreDecidedOneByOne(t *testing.T) {
	w := newWorld(t, func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if op.SSH != nil && (strings.Contains(op.SSH.Path, "forbidden") || op.SSH.Action == operation.FileRemove) {
			return protocol.Decision{Rule: "no-such-file", Reason: "Not this one."}
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	must(t, os.Mkdir(w.path("dir"), 0o755))
	w.write(t, "forbidden", []byte("secret"))
	w.write(t, "plain", []byte("text"))
	must(t, os.Symlink(w.path("forbidden"), w.path("link")))
	batch := strings.Join([]string{
		"-get " + w.path("forbidden") + " " + w.path("stolen"),
		"-get " + w.path("dir") + "/../forbidden " + w.path("stolen"),
		"-get " + w.path("dir") + "//.././forbidden " + w.path("stolen"),
		"-get " + w.path("link") + " " + w.path("stolen"),
		"cd " + w.path("dir"),
		"-get ../forbidden " + w.path("stolen"),
		"-put " + w.path("plain") + " ../forbidden",
		"-rm " + w.path("plain"),
		"-rename " + w.path("forbidden") + " " + w.path("moved"),
		"-symlink " + w.path("forbidden") + " " + w.path("other"),
		"put " + w.path("plain") + " " + w.path("dir/new"),
		"rename " + w.path("dir/new") + " " + w.path("dir/newer"),
		"chmod 600 " + w.path("dir/newer"),
		"ls -l " + w.path("dir"),
		"mkdir " + w.path("dir/sub"),
		"rmdir " + w.path("dir/sub"),
		"get " + w.path("plain") + " " + w.path("got"),
		"df", "",
	}, "\n")
	out, errs, code := w.run(t, batch, "sftp", "-F", "@config", "-b", "-", "ssh.lab")
	if code != 0 || !strings.Contains(out, "newer") {
		t.Errorf("got %q, %q, %d", out, errs, code)
	}
	if n := strings.Count(errs, `refused by rule "no-such-file": Not this one.`); n < 8 {
		t.Errorf("%d refusals were shown: %s", n, errs)
	}
	for _, name := range []string{"stolen", "moved", "other"} {
		if _, err := os.Lstat(w.path(name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
	if text, _ := os.ReadFile(w.path("forbidden")); string(text) != "secret" {
		t.Errorf("it was overwritten: %q", text)
	}
	actions := map[operation.FileAction]int{}
	for _, e := range w.guard.asked(operation.File) {
		actions[e.op.SSH.Action]++
		if e.op.Parent == 0 || !e.op.Parsed {
			t.Errorf("%q: parent %d, parsed %v", e.text, e.op.Parent, e.op.Parsed)
		}
	}
	for _, want := range []operation.FileAction{
		operation.FileRead, operation.FileWrite, operation.FileList, operation.FileStat, operation.FileSetStat,
		operation.FileRemove, operation.FileRename, operation.FileMkdir, operation.FileRmdir, operation.FileLink,
	} {
		if actions[want] == 0 {
			t.Errorf("no %s was asked about: %v", want, actions)
		}
	}
}

func TestForwards(t *testing.T) {
	w := newWorld(t, func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if op.SSH != nil && strings.HasSuffix(op.SSH.Path, ":1") {
			return protocol.Decision{Rule: "not-there", Reason: "No."}
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	w.change(func(conn *protocol.Conn) {
		conn.Protected = protecting("127.0.0.1", 5432)
		conn.Inner = func(context.Context, protocol.Inner) (string, error) {
			return "", protocol.Unserved("it is a protected resource")
		}
	})
	greeting, errs, _ := w.ssh(t, "", "-W", w.server.String())
	if !strings.HasPrefix(greeting, "SSH-2.0-OpenSSH") {
		t.Errorf("through the host came %q, %q", greeting, errs)
	}
	for to, why := range map[string]string{
		"127.0.0.1:1": `refused by rule "not-there"`, "127.0.0.1:5432": "protected resource", "localhost:5432": "protected resource",
		"0:5432": "protected resource", "[::ffff:127.0.0.1]:5432": "protected resource", "0x7f.1:5432": "protected resource", "2130706433:5432": "protected resource",
		"LOCALHOST.:5432": "protected resource", "127.0.0.01:5432": "protected resource", "127.0.0.1 :5432": "cannot be read", "127。0.0.1:5432": "cannot be read",
	} {
		if _, errs, code := w.ssh(t, "", "-W", to); code != 255 || !strings.Contains(errs, why) {
			t.Errorf("%s: got %q, %d", to, errs, code)
		}
	}
	// A port that the host opens leads back to the client.
	cmd := exec.Command("ssh", "-F", w.client, "-v", "-R", "127.0.0.1:0:"+w.server.String(), "ssh.lab", "cat")
	stdin, err := cmd.StdinPipe()
	must(t, err)
	log, err := os.Create(w.path("log"))
	must(t, err)
	cmd.Stderr = log
	must(t, cmd.Start())
	defer func() { _ = stdin.Close(); _ = cmd.Wait() }()
	var port string
	waitFor(t, "the port", func() bool {
		text, _ := os.ReadFile(w.path("log"))
		_, after, found := strings.Cut(string(text), "Allocated port ")
		port, _, _ = strings.Cut(after, " ")
		return found
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port+"; head -n 1 <&3").Output()
	if !strings.HasPrefix(string(out), "SSH-2.0-OpenSSH") {
		t.Errorf("through the port came %q", out)
	}
	if forwards := w.guard.asked(operation.Forward); len(forwards) < 9 {
		t.Errorf("%d forwards were asked about", len(forwards))
	}
}

// A server may say that there is no more output before it says how the program
// ended. A client of a master connection with nothing to say closes the channel
// at the first.
func TestExitStatusComesBeforeTheEndOfTheOutput(t *testing.T) {
	w := newWorld(t, nil)
	out, errs, code := w.ssh(t, "", "-S", w.master(t), "echo fine; exec >&- 2>&-; sleep 0.3; exit 7")
	if out != "fine\n" || code != 7 {
		t.Errorf("got %q, %q, %d", out, errs, code)
	}
}

// master starts a connection that others share, and returns its socket.
func (w *world) master(t *testing.T) (socket string) {
	t.Helper()
	socket = w.path("control")
	master := exec.Command("ssh", "-F", w.client, "-M", "-S", socket, "-N", "ssh.lab")
	must(t, master.Start())
	t.Cleanup(func() { _, _ = master.Process.Kill(), master.Wait() })
	waitFor(t, "the master", func() bool { _, err := os.Stat(socket); return err == nil })
	return socket
}
