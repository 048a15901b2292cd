package postgres_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/trust"
)

// loopback is an authority for 127.0.0.1 and the file of its certificate.
func loopback(t *testing.T) (*trust.Authority, string) {
	t.Helper()
	cert, key, err := trust.New(trust.Constraints{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := trust.Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	return authority, file
}

func TestClientThatInsistsOnTLSIsServed(t *testing.T) {
	authority, root := loopback(t)
	p := startProxy(t, realServer(t), proxyOptions{clientTLS: authority.Config(nil, netip.MustParseAddr("127.0.0.1"))})
	for mode, encrypted := range map[string]bool{
		"verify-full": true, "verify-ca": true, "require": true, "prefer": true, "allow": false, "disable": false,
	} {
		out, err := psqlWithTLS(t, p, mode, root)
		if err != nil || !strings.Contains(out, "42\n") || strings.Contains(out, "SSL connection") != encrypted {
			t.Errorf("%s: %v, psql said %q", mode, err, out)
		}
	}
	_, stranger := loopback(t)
	if out, err := psqlWithTLS(t, p, "verify-full", stranger); err == nil || !strings.Contains(out, "certificate verify failed") {
		t.Errorf("under another authority: %v, psql said %q", err, out)
	}
}

func psqlWithTLS(t *testing.T, p *proxy, mode, root string) (string, error) {
	t.Helper()
	uri := fmt.Sprintf("postgres://job@127.0.0.1:%d/shop?connect_timeout=10&sslmode=%s&sslrootcert=%s", p.port, mode, root)
	cmd := exec.CommandContext(t.Context(), "psql", "-X", "-At", "-c", `\conninfo`, "-c", "SELECT 40+2", uri)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestResultsAndHoldsOverTLS(t *testing.T) {
	authority, root := loopback(t)
	p := startProxy(t, realServer(t), proxyOptions{clientTLS: authority.Config(nil, netip.MustParseAddr("127.0.0.1"))})
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://job@127.0.0.1:%d/shop?sslmode=verify-full&sslrootcert=%s", p.port, root))
	if err != nil {
		t.Fatal(err)
	}
	var total int
	if err := conn.QueryRow(t.Context(), "SELECT sum(length(repeat('x', i)))::int FROM generate_series(1, 3000) i").Scan(&total); err != nil || total != 4501500 {
		t.Errorf("got %d, %v", total, err)
	}
	waits, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(waits, "SELECT pg_sleep(30)"); err == nil {
		t.Error("a cancelled statement was run")
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// direct begins TLS without a request, as sslnegotiation=direct does, and then
// a session.
func direct(t *testing.T, p *proxy, root string, protocols ...string) (*tls.Conn, error) {
	t.Helper()
	pem, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.port), &tls.Config{RootCAs: roots, NextProtos: protocols})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() }) // most tests have closed it
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0, 0, 0, 0, 0, 3, 0, 2}, "user\x00job\x00database\x00shop\x00\x00"...)
	binary.BigEndian.PutUint32(packet, uint32(len(packet)))
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return conn, err
}

func TestDirectTLSDemandsTheApplicationProtocol(t *testing.T) {
	authority, root := loopback(t)
	p := startProxy(t, realServer(t), proxyOptions{clientTLS: authority.Config(nil, netip.MustParseAddr("127.0.0.1"))})
	if _, err := direct(t, p, root, "postgresql"); err != nil {
		t.Errorf("with it: %v", err)
	}
	for _, protocols := range [][]string{nil, {"http/1.1"}} {
		if _, err := direct(t, p, root, protocols...); err == nil {
			t.Errorf("%v was served", protocols)
		}
	}
	plain := startProxy(t, realServer(t), proxyOptions{})
	if _, err := direct(t, plain, root, "postgresql"); err == nil {
		t.Error("direct TLS was served where there is none")
	}
}

// What somebody writes in front of the handshake must never be read as if it
// came through it (CVE-2021-23222).
func TestPlainBytesBeforeTheHandshakeAreNeverRead(t *testing.T) {
	authority, _ := loopback(t)
	p := startProxy(t, realServer(t), proxyOptions{clientTLS: authority.Config(nil, netip.MustParseAddr("127.0.0.1"))})
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the other side closes it
	request := []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}
	startup := append([]byte{0, 0, 0, 37, 0, 3, 0, 0}, "user\x00job\x00database\x00shop\x00\x00\x00\x00\x00\x00\x00"...)
	if _, err := conn.Write(append(request, startup...)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn) // a reset is an end too
	if !bytes.HasPrefix(answer, []byte("S")) || bytes.Contains(answer, []byte("server_version")) {
		t.Errorf("the agent answered %q", answer)
	}
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	if len(p.guard.seen) != 0 {
		t.Errorf("the agent asked about %v", p.guard.seen[0].Kind)
	}
}

// interloper stands between agent and server with a certificate that the agent
// trusts, and may change what the server offers.
func interloper(t *testing.T, s *server, edit func(fromServer []byte) []byte) (dial func(context.Context) (net.Conn, error), roots *x509.CertPool) {
	t.Helper()
	authority, file := loopback(t)
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var relays sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); relays.Wait() })
	relays.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			relays.Go(func() { relay(client, s.port, authority.Config(nil, netip.MustParseAddr("127.0.0.1")), edit) })
		}
	})
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}, roots
}

func relay(client net.Conn, port int, config *tls.Config, edit func([]byte) []byte) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	request := make([]byte, 8)
	if _, err := io.ReadFull(client, request); err != nil {
		return
	}
	_, _ = server.Write(request)
	answer := make([]byte, 1)
	if _, err := io.ReadFull(server, answer); err != nil {
		return
	}
	_, _ = client.Write(answer)
	near, far := tls.Server(client, config), tls.Client(server, &tls.Config{InsecureSkipVerify: true})
	go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
	b := make([]byte, 64<<10)
	for {
		n, err := far.Read(b)
		if n > 0 {
			_, _ = near.Write(edit(b[:n]))
		}
		if err != nil {
			_ = near.Close()
			return
		}
	}
}

func TestLoginIsBoundToTheServersCertificate(t *testing.T) {
	s := realServer(t)
	asItIs := func(b []byte) []byte { return b }
	withoutBinding := func(b []byte) []byte {
		const both, one = "\x00\x00\x00\x0aSCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00", "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"
		before, found := bytes.CutSuffix(b, []byte(both))
		if !found {
			return b
		}
		before = binary.BigEndian.AppendUint32(before[:len(before)-4], uint32(4+len(one)))
		return append(before, one...)
	}
	for name, edit := range map[string]func([]byte) []byte{"another certificate": asItIs, "another certificate, and no offer to bind": withoutBinding} {
		dial, roots := interloper(t, s, edit)
		config := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
		p := startProxy(t, s, proxyOptions{dial: dial, tls: protocol.ServerTLS{Config: config}})
		out, errs, code := p.psql(t, "-At", "-c", "SELECT 1")
		if code == 0 || !strings.Contains(errs, "the server refused the agent's login") {
			t.Errorf("%s: psql exited %d with %q, %q", name, code, out, errs)
		}
	}
}
