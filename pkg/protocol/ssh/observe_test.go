package ssh_test

import (
	"fmt"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/protocol/ssh"
)

func TestSSHPassesAllThatIsObserved(t *testing.T) {
	plugin, err := ssh.New(ssh.Options{})
	must(t, err)
	protocoltest.Observes(t, plugin)
}

// TestObservedHostIsTheClientsOwn: a job that logs in by its own key and knows
// the host's own is served as directly, refused as directly, and recorded by
// what both sides say that they are.
func TestObservedHostIsTheClientsOwn(t *testing.T) {
	w := newWorld(t, nil)
	w.change(func(conn *protocol.Conn) { conn.Observe = true })
	key, signer := newKey(t)
	other, _ := newKey(t)
	w.write(t, "authorized", xssh.MarshalAuthorizedKey(signer.PublicKey()))
	config := func(name, key string) string {
		known := w.write(t, name+"-known", fmt.Appendf(nil, "ssh.lab %s", xssh.MarshalAuthorizedKey(w.hostKey)))
		return w.write(t, name, fmt.Appendf(nil, `Host ssh.lab
  HostName 127.0.0.1
  HostKeyAlias ssh.lab
  Port %d
  User root
  IdentityFile %s
  IdentitiesOnly yes
  UserKnownHostsFile %s
  BatchMode yes
`, w.front.Port(), key, known))
	}
	w.client = config("own", w.write(t, "job", key))
	if out, errs, code := w.ssh(t, "b\na\n", "sort; sleep 0.2; echo problem >&2; exit 7"); out != "a\nb\n" || errs != "problem\n" || code != 7 {
		t.Fatalf("got %q, %q, %d", out, errs, code)
	}
	if out, errs, code := w.ssh(t, "", "-o", "Ciphers=chacha20-poly1305@openssh.com", "-o", "Compression=yes", "head -c 5000000 /dev/zero | tr '\\0' x"); len(out) != 5000000 || code != 0 {
		t.Errorf("got %d bytes, %q, %d", len(out), errs, code)
	}
	w.client = config("other", w.write(t, "stranger", other))
	if _, errs, code := w.ssh(t, "", "true"); code != 255 || !strings.Contains(errs, "Permission denied (publickey") {
		t.Errorf("a stranger got %q, %d", errs, code)
	}
	waitFor(t, "the sessions' ends", func() bool { return len(w.guard.open()) == 0 && len(w.guard.asked(operation.Unread)) == 3 })
	for _, e := range w.guard.asked(operation.Unread) {
		if e.op.Unread != protocol.Encrypted || e.op.Parsed || len(e.streams) != 0 || e.outcome.Status != protocol.OK ||
			strings.Count(e.outcome.Tag, "SSH-2.0-OpenSSH_") != 2 || strings.Contains(e.outcome.Tag+e.text, "root") {
			t.Errorf("recorded %+v, %+v, %q", e.op, e.outcome, e.text)
		}
	}
}
