package ssh_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/sluicegate/sluice/pkg/operation"
)

// bareKeys writes the lines of the known hosts that clients without certificates
// understand.
func (w *world) bareKeys(t *testing.T) string {
	t.Helper()
	known, err := os.ReadFile(w.path("known_hosts"))
	must(t, err)
	var bare []byte
	for line := range strings.SplitAfterSeq(string(known), "\n") {
		if !strings.HasPrefix(line, "@") {
			bare = append(bare, line...)
		}
	}
	return w.write(t, "bare", bare)
}

func TestGoClientBelievesTheHostAuthority(t *testing.T) {
	w := newWorld(t, nil)
	known, err := knownhosts.New(w.path("known_hosts"))
	must(t, err)
	conn, err := net.Dial("tcp", w.front.String())
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	leg, channels, requests, err := xssh.NewClientConn(conn, "ssh.lab:22", &xssh.ClientConfig{User: "job", HostKeyCallback: known})
	must(t, err)
	client := xssh.NewClient(leg, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	must(t, err)
	if out, err := session.Output("echo go"); err != nil || string(out) != "go\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestParamiko(t *testing.T) {
	w := newWorld(t, nil)
	script := fmt.Sprintf(`
import paramiko, socket
client = paramiko.SSHClient()
client.load_host_keys(%q)
sock = socket.create_connection(("127.0.0.1", %d))
client.connect("ssh.lab", username="job", password="x", sock=sock, allow_agent=False, look_for_keys=False, compress=True)
stdin, stdout, stderr = client.exec_command("echo out; echo err >&2; exit 3")
assert stdout.read() == b"out\n" and stderr.read() == b"err\n" and stdout.channel.recv_exit_status() == 3
sftp = client.open_sftp()
with sftp.open(%q, "w") as f: f.write("text")
assert sftp.open(%q).read() == b"text"
assert "made" in sftp.listdir(%q)
`, w.bareKeys(t), w.front.Port(), w.path("made"), w.path("made"), w.dir)
	if out, errs, code := w.run(t, "", "/usr/bin/python3", "-c", script); code != 0 {
		t.Errorf("%q, %q, %d", out, errs, code)
	}
}

// Debian's curl speaks SSH with libssh2.
func TestCurlCopiesFiles(t *testing.T) {
	w := newWorld(t, nil)
	must(t, os.Mkdir(w.path(".ssh"), 0o700))
	must(t, os.Rename(w.bareKeys(t), w.path(".ssh/known_hosts")))
	w.write(t, "source", []byte("by curl"))
	connect := fmt.Sprintf("ssh.lab:22:127.0.0.1:%d", w.front.Port())
	curl := func(args ...string) string {
		t.Helper()
		out, errs, code := w.run(t, "", append([]string{"curl", "--silent", "--show-error", "--connect-to", connect, "--user", "job:x"}, args...)...)
		if code != 0 {
			t.Fatalf("curl %q: %q, %d", args, errs, code)
		}
		return out
	}
	curl("--upload-file", w.path("source"), "sftp://ssh.lab"+w.path("copy"))
	if got := curl("sftp://ssh.lab" + w.path("copy")); got != "by curl" {
		t.Errorf("over SFTP came %q", got)
	}
	if got := curl("scp://ssh.lab" + w.path("copy")); got != "by curl" {
		t.Errorf("over scp came %q", got)
	}
	if files := w.guard.asked(operation.File); len(files) == 0 {
		t.Error("no file was asked about")
	}
}

// Modules are copied over SFTP and run by a shell, whose lines are not certain.
func TestAnsibleModules(t *testing.T) {
	t.Run("over ssh", func(t *testing.T) {
		w := newWorld(t, nil)
		w.ansible(t, "", "--ssh-common-args", "-F @config")
	})
	t.Run("over paramiko", func(t *testing.T) {
		w := newWorld(t, nil)
		keys, err := os.ReadFile(w.bareKeys(t))
		must(t, err)
		port := w.front.Port()
		must(t, os.Mkdir(w.path(".ssh"), 0o700))
		w.write(t, ".ssh/known_hosts", bytes.ReplaceAll(keys, []byte("ssh.lab "), fmt.Appendf(nil, "[127.0.0.1]:%d ", port)))
		w.ansible(t, fmt.Sprintf("ansible_host=127.0.0.1 ansible_port=%d ansible_user=job ansible_password=x", port), "-c", "paramiko")
	})
}

func (w *world) ansible(t *testing.T, host string, args ...string) {
	t.Helper()
	w.write(t, "greeting.j2", []byte("{{ greeting }} from {{ inventory_hostname }}\n"))
	playbook := w.write(t, "play.yaml", fmt.Appendf(nil, `- hosts: all
  gather_facts: false
  vars: {greeting: hello}
  tasks:
    - ping:
    - command: echo ran
      register: ran
    - assert: {that: ran.stdout == "ran"}
    - copy: {content: "copied\n", dest: %[1]s/copied}
    - template: {src: %[1]s/greeting.j2, dest: %[1]s/greeted}
`, w.dir))
	inventory := w.write(t, "inventory", fmt.Appendf(nil, "ssh.lab ansible_python_interpreter=/usr/bin/python3 ansible_remote_tmp=%s %s\n", w.path("remote"), host))
	out, errs, code := w.run(t, "", append([]string{"env", "ANSIBLE_SSH_ARGS=-C", "ansible-playbook", "-i", inventory, playbook}, args...)...)
	if code != 0 {
		t.Fatalf("%q, %q, %d", out, errs, code)
	}
	for name, want := range map[string]string{"copied": "copied\n", "greeted": "hello from ssh.lab\n"} {
		if got, err := os.ReadFile(w.path(name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	uncertain := 0
	for _, e := range w.guard.asked(operation.Exec) {
		if !e.op.Parsed {
			uncertain++
		}
	}
	t.Logf("%d of %d command lines are not certain", uncertain, len(w.guard.asked(operation.Exec)))
}
