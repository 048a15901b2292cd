package ssh_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// The kinds of packet that the attacker knows, RFC 4253, section 12.
const (
	kindIgnore  = 2
	kindKexInit = 20
)

// attacker is between two peers and puts a packet into what one of them sends,
// behind its first: as CVE-2023-48795 does, so that later packets can be cut off
// without notice where sequence numbers go on.
type attacker struct {
	address netip.AddrPort

	mu   sync.Mutex
	kex  map[string]string // the names in the first packet; guarded by mu
	seen sync.WaitGroup
}

// between starts an attacker in front of an address. from is whose words get the
// packet: "client", "server", or nobody's.
func between(t *testing.T, target netip.AddrPort, from string) *attacker {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a := &attacker{address: netip.MustParseAddrPort(listener.Addr().String()), kex: map[string]string{}}
	a.seen.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target.String())
			if err != nil {
				_ = client.Close()
				return
			}
			a.seen.Go(func() { a.pass(server, client, "client", from) })
			a.seen.Go(func() { a.pass(client, server, "server", from) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		a.seen.Wait()
	})
	return a
}

func (a *attacker) pass(to, from net.Conn, who, injected string) {
	defer to.Close()
	in := bufio.NewReader(from)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(to, line)
		if strings.HasPrefix(line, "SSH-") {
			break
		}
	}
	head, err := in.Peek(4)
	if err != nil {
		return
	}
	first := make([]byte, 4+binary.BigEndian.Uint32(head))
	if _, err := io.ReadFull(in, first); err != nil {
		return
	}
	if first[5] == kindKexInit {
		a.mu.Lock()
		a.kex[who] = string(first[5+1+16:])
		a.mu.Unlock()
	}
	_, _ = to.Write(first)
	if who == injected {
		_, _ = to.Write([]byte{0, 0, 0, 12, 6, kindIgnore, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	_, _ = io.Copy(to, in)
}

// offered is what a peer named in its first packet.
func (a *attacker) offered(who string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kex[who]
}

// sshThrough runs a command through an attacker in front of the plug-in.
func (w *world) sshThrough(t *testing.T, a *attacker) (out, errs string, code int) {
	t.Helper()
	config, err := os.ReadFile(w.client)
	must(t, err)
	config = bytes.ReplaceAll(config, fmt.Appendf(nil, "Port %d", w.front.Port()), fmt.Appendf(nil, "Port %d", a.address.Port()))
	return w.run(t, "", "ssh", "-F", w.write(t, "attacked", config), "ssh.lab", "echo out")
}

func TestInjectedPacketEndsTheClientLeg(t *testing.T) {
	w := newWorld(t, nil)
	nobody := between(t, w.front, "")
	if out, errs, code := w.sshThrough(t, nobody); out != "out\n" {
		t.Fatalf("got %q, %q, %d", out, errs, code)
	}
	if !strings.Contains(nobody.offered("server"), "kex-strict-s-v00@openssh.com") || !strings.Contains(nobody.offered("client"), "kex-strict-c-v00@openssh.com") {
		t.Errorf("strict key exchange is not agreed on: %q, %q", nobody.offered("server"), nobody.offered("client"))
	}
	logins := len(w.guard.asked(operation.Connect))
	for _, from := range []string{"client", "server"} {
		if out, errs, code := w.sshThrough(t, between(t, w.front, from)); code != 255 || out != "" {
			t.Errorf("a packet among the %s's: %q, %q, %d", from, out, errs, code)
		}
	}
	if asked := len(w.guard.asked(operation.Connect)); asked != logins {
		t.Error("a login was asked about")
	}
}

func TestInjectedPacketEndsTheServerLeg(t *testing.T) {
	for _, from := range []string{"", "client", "server"} {
		w := newWorld(t, nil)
		a := between(t, w.server, from)
		w.server = a.address
		w.change(func(conn *protocol.Conn) {
			conn.KnownHosts = fmt.Appendf(nil, "[127.0.0.1]:%d %s", w.server.Port(), xssh.MarshalAuthorizedKey(w.hostKey))
		})
		out, errs, code := w.ssh(t, "", "echo out")
		if from == "" {
			if out != "out\n" || !strings.Contains(a.offered("client"), "kex-strict-c-v00@openssh.com") {
				t.Errorf("got %q, %q, %d, and the agent offered %q", out, errs, code, a.offered("client"))
			}
			continue
		}
		text, err := os.ReadFile(w.path("sshd.log"))
		must(t, err)
		if code != 255 || out != "" || strings.Contains(string(text), "Accepted") {
			t.Errorf("a packet among the %s's: %q, %q, %d\n%s", from, out, errs, code, text)
		}
	}
}

// A packet that is too long, or too short to be one, is not waited for.
func TestLengthsThatCannotBeEndTheLeg(t *testing.T) {
	w := newWorld(t, nil)
	for _, length := range []uint32{0, 1, 4, 256<<10 + 1, 1 << 30, 0xffffffff} {
		conn, err := net.Dial("tcp", w.front.String())
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = conn.Write(append(binary.BigEndian.AppendUint32([]byte("SSH-2.0-x\r\n"), length), make([]byte, 16)...))
		must(t, err)
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("length %d: the leg stays open", length)
		}
		must(t, conn.Close())
	}
	if got := heap(); got > 96 {
		t.Errorf("%d MiB are in use", got)
	}
}
