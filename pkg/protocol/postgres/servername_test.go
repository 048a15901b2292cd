package postgres_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/trust"
)

// tenants tells clients apart by the name that they ask TLS for: a.pg.lab is
// served for the database shop, other.lab is another resource's, and without a
// name nobody is served.
func tenants(t *testing.T, c *chooser) (p *proxy, root string) {
	t.Helper()
	cert, key, err := trust.New(trust.Constraints{Names: []string{"pg.lab", "other.lab"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := trust.Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	root = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(root, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	shown := func(name string) ([]string, bool) { return []string{name}, name == "a.pg.lab" || name == "other.lab" }
	choose := func(by protocol.Start) (string, error) {
		_, err := c.choose(by)
		if by.ServerName != "a.pg.lab" && by.Resource == "" {
			return "", errors.New("no resource")
		}
		return "shop-db", err
	}
	p = startProxy(t, realServer(t), proxyOptions{choose: choose, clientTLS: authority.ConfigBy(netip.MustParseAddr("127.0.0.1"), shown)})
	return p, root
}

// asking has psql ask for a server by name, at the proxy.
func asking(t *testing.T, p *proxy, root, host, database, mode string, more ...string) (string, error) {
	t.Helper()
	uri := fmt.Sprintf("host=%s hostaddr=127.0.0.1 port=%d user=job dbname=%s connect_timeout=10 sslmode=%s sslrootcert=%s %s",
		host, p.port, database, mode, root, strings.Join(more, " "))
	out, err := exec.CommandContext(t.Context(), "psql", "-X", "-Atc", "SELECT 40+2", uri).CombinedOutput()
	return string(out), err
}

func TestServerNameOfTheClientsTLSChooses(t *testing.T) {
	var c chooser
	p, root := tenants(t, &c)
	for _, mode := range []string{"require", "verify-full"} {
		out, err := asking(t, p, root, "a.pg.lab", "shop", mode)
		if err != nil || strings.TrimSpace(out) != "42" {
			t.Errorf("%s: %v, %q", mode, err, out)
		}
		if by := c.last(); by != (protocol.Start{ServerName: "a.pg.lab", Database: "shop", User: "job"}) {
			t.Errorf("%s: it is chosen by %+v", mode, by)
		}
	}
	for _, test := range []struct{ why, host, database, mode, more, says string }{
		{"another resource's name", "other.lab", "shop", "require", "", "no resource at this address"},
		{"another resource's database", "a.pg.lab", "staff", "require", "", "no resource at this address"},
		{"nobody's name", "c.pg.lab", "shop", "require", "", "unrecognized name"},
		{"no name in TLS", "a.pg.lab", "shop", "require", "sslsni=0", "unrecognized name"},
		{"no TLS", "a.pg.lab", "shop", "disable", "", "no resource at this address"},
		{"an address", "127.0.0.1", "shop", "require", "", "unrecognized name"},
		{"no TLS after TLS was refused", "c.pg.lab", "shop", "prefer", "", "no resource at this address"},
	} {
		out, err := asking(t, p, root, test.host, test.database, test.mode, test.more)
		if err == nil || !strings.Contains(out, test.says) {
			t.Errorf("%s: %v, %q", test.why, err, out)
		}
	}
}

func TestServerNameOfDirectTLSChooses(t *testing.T) {
	var c chooser
	p, root := tenants(t, &c)
	for host, ok := range map[string]bool{"a.pg.lab": true, "other.lab": false, "c.pg.lab": false} {
		config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=job dbname=shop sslmode=verify-full sslnegotiation=direct sslrootcert=%s", host, p.port, root))
		if err != nil {
			t.Fatal(err)
		}
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if ok != (err == nil) {
			t.Errorf("%s: %v", host, err)
		}
		if err == nil {
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestNameInFrontOfTheHandshakeCountsForNothing sends a hello in plain text
// between the request and the answer, as somebody on the way would, and one
// inside of the session.
func TestNameInFrontOfTheHandshakeCountsForNothing(t *testing.T) {
	var c chooser
	p, _ := tenants(t, &c)
	hello := clientHello(t, "a.pg.lab")
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	request := []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}
	if _, err := conn.Write(append(append(request, hello...), clientHello(t, "other.lab")...)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64<<10)
	total := 0
	for {
		n, err := conn.Read(b)
		total += n
		if err != nil {
			break
		}
	}
	if total == 0 {
		t.Error("nothing was answered")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) != 0 {
		t.Errorf("somebody was chosen: %+v", c.asked)
	}
}

// clientHello is what a client sends first.
func clientHello(t *testing.T, name string) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, &tls.Config{ServerName: name}).Handshake() }()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = near.Close(), far.Close()
	return b[:n]
}
