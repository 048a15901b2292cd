package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// writeCertificate gives the server a certificate that signs itself.
func writeCertificate(dir string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pg.example"}, DNSNames: []string{"pg.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	for name, block := range map[string]*pem.Block{
		"server.crt": {Type: "CERTIFICATE", Bytes: der}, "server.key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
		if out, err := exec.Command("chown", "postgres", path).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("chown: %w: %s", err, out)
		}
	}
	roots := x509.NewCertPool()
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	roots.AddCert(certificate)
	return roots, nil
}

func TestServerLegIsVerifiedByTLS(t *testing.T) {
	s := realServer(t)
	for _, test := range []struct {
		name   string
		config *tls.Config
		want   string
	}{
		{"right name", &tls.Config{RootCAs: s.roots, ServerName: "pg.example"}, "t\n"},
		{"wrong name", &tls.Config{RootCAs: s.roots, ServerName: "other.example"}, ""},
		{"wrong root", &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "pg.example"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startProxy(t, s, proxyOptions{tls: protocol.ServerTLS{Config: test.config}})
			out, errs, _ := p.psql(t, "-At", "-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
			if out != test.want || (out == "" && !strings.Contains(errs, "cannot be reached as its resource demands")) {
				t.Fatalf("psql said %q, %q", out, errs)
			}
		})
	}
}

func TestAgentLogsInByEachMethod(t *testing.T) {
	s := realServer(t)
	if err := s.sql("postgres", "SET password_encryption = 'md5'", "DROP ROLE IF EXISTS olduser"); err != nil {
		t.Fatal(err)
	}
	if err := s.sql("postgres", "SET password_encryption = 'md5'; CREATE ROLE olduser LOGIN PASSWORD 'old-secret'"); err != nil {
		t.Fatal(err)
	}
	secured := protocol.ServerTLS{Config: &tls.Config{RootCAs: s.roots, ServerName: "pg.example"}}
	for _, test := range []struct {
		name, method, user, password string
		tls                          protocol.ServerTLS
		ok                           bool
	}{
		{"scram", "scram-sha-256", "app", "app-secret", protocol.ServerTLS{}, true},
		{"scram over TLS", "scram-sha-256", "app", "app-secret", secured, true},
		{"md5", "md5", "olduser", "old-secret", protocol.ServerTLS{}, true},
		{"password over TLS", "password", "app", "app-secret", secured, true},
		{"password in the clear", "password", "app", "app-secret", protocol.ServerTLS{}, false},
		{"wrong password", "scram-sha-256", "app", "wrong", protocol.ServerTLS{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.authenticate(t, test.method)
			p := startProxy(t, s, proxyOptions{user: test.user, password: test.password, tls: test.tls})
			out, errs, code := p.psql(t, "-At", "-c", "SELECT current_user")
			if test.ok != (code == 0 && out == test.user+"\n") {
				t.Fatalf("psql exited %d with %q, %q", code, out, errs)
			}
			if strings.Contains(errs, test.user) || strings.Contains(errs, test.password) {
				t.Fatalf("the client heard of the credential: %q", errs)
			}
		})
	}
	s.authenticate(t, "scram-sha-256")
}

// authenticate makes the server demand one method of everybody but the
// administrator.
func (s *server) authenticate(t *testing.T, method string) {
	t.Helper()
	kind := "host"
	if strings.Contains(method, "cert") {
		kind = "hostssl"
	}
	hba := fmt.Sprintf("host all,replication postgres,standby 127.0.0.1/32 scram-sha-256\n%s all all 127.0.0.1/32 %s\n", kind, method)
	if err := os.WriteFile(filepath.Join(s.dir, "data", "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.sql("postgres", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		out, err := s.query("SELECT auth_method FROM pg_hba_file_rules WHERE user_name = '{all}'")
		if err == nil && strings.TrimSpace(out) == strings.Fields(method)[0] && s.reloaded() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server did not take the method: %q, %v", out, err)
		}
	}
}

func TestKeyOfAnotherWorkloadCancelsNothing(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	p.netns.Store(7) // later sessions come from another workload
	if err := conn.PgConn().CancelRequest(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-p.errs; err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(context.Background(), "SELECT pg_sleep(0.2)"); err != nil {
		t.Fatalf("a stranger's cancel reached the server: %v", err)
	}
}
