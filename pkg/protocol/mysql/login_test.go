package mysql_test

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

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// writeCertificate makes the server's certificate, for the name mysql.example.
func writeCertificate(dir string) (*x509.CertPool, tls.Certificate, error) {
	var none tls.Certificate
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, none, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mysql.example"}, DNSNames: []string{"mysql.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, none, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, none, err
	}
	for name, block := range map[string]*pem.Block{
		"server.crt": {Type: "CERTIFICATE", Bytes: der}, "server.key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, none, err
		}
		if out, err := exec.Command("chown", "mysql", path).CombinedOutput(); err != nil {
			return nil, none, fmt.Errorf("chown: %w: %s", err, out)
		}
	}
	roots := x509.NewCertPool()
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, none, err
	}
	roots.AddCert(certificate)
	return roots, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func TestTheJobsPasswordIsAcceptedAndNeverSeen(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	out, errs, code := p.mariadb(t, "-N", "-e", "SELECT CURRENT_USER(), DATABASE(), 1+1")
	if code != 0 || out != "app@%\tshop\t2\n" {
		t.Fatalf("code %d, %q, %q", code, out, errs)
	}
	asked := p.guard.operations(operation.Connect)
	if len(asked) != 1 || !strings.Contains(string(asked[0].Text.Reveal()), "user=job database=shop") {
		t.Errorf("the login was asked about as %q", asked[0].Text.Reveal())
	}
	for _, op := range p.guard.seen {
		if strings.Contains(string(op.Text.Reveal()), "what-the-job-believes") || strings.Contains(string(op.Text.Reveal()), "app-secret") {
			t.Error("a password is recorded")
		}
	}
}

func TestServerLegIsVerifiedByTLS(t *testing.T) {
	s := realServer(t)
	for _, test := range []struct {
		name   string
		config *tls.Config
		want   string
	}{
		{"right name", &tls.Config{RootCAs: s.roots, ServerName: "mysql.example"}, "1"},
		{"wrong name", &tls.Config{RootCAs: s.roots, ServerName: "other.example"}, ""},
		{"unknown authority", &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "mysql.example"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startProxy(t, s, proxyOptions{tls: protocol.ServerTLS{Config: test.config}})
			out, errs, _ := p.mariadb(t, "-N", "-e", "SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'")
			if strings.TrimSpace(out) != test.want {
				t.Errorf("got %q, %q", out, errs)
			}
			if test.want == "" && !strings.Contains(errs, "the server cannot be reached as its resource demands") {
				t.Errorf("the client reads %q", errs)
			}
		})
	}
}

func TestClientLegUpgradesToTLS(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{clientTLS: &tls.Config{Certificates: []tls.Certificate{s.certificate}}})
	authority := filepath.Join(s.dir, "server.crt")
	out, errs, code := p.mariadb(t, "--ssl", "--ssl-ca="+authority, "-e", "\\s")
	if code != 0 || !strings.Contains(out, "Cipher in use is TLS") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if out, errs, code := p.mariadb(t, "--skip-ssl", "-N", "-e", "SELECT 1"); code != 0 || out != "1\n" {
		t.Errorf("without TLS: code %d, %q, %q", code, out, errs)
	}
}

func TestTheAgentLogsInByEveryPlugIn(t *testing.T) {
	s := realServer(t)
	for user, password := range map[string]string{"app": "app-secret", "ed": "ed-secret", "old": ""} {
		p := startProxy(t, s, proxyOptions{user: user, password: password})
		if out, errs, code := p.mariadb(t, "-N", "-e", "SELECT CURRENT_USER()"); code != 0 || out != user+"@%\n" {
			t.Errorf("%s: code %d, %q, %q", user, code, out, errs)
		}
	}
	p := startProxy(t, s, proxyOptions{user: "app", password: "wrong"})
	if _, errs, code := p.mariadb(t, "-e", "SELECT 1"); code == 0 || !strings.Contains(errs, "sluice: the server refused the agent's login") || strings.Contains(errs, "app") {
		t.Errorf("a wrong credential: code %d, %q", code, errs)
	}
}

func TestARefusedLoginNeverReachesTheServer(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{decide: func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
		return protocol.Decision{Rule: "closed", Reason: "Not for pipelines."}, nil
	}})
	before := strings.Count(s.log(t), "Connect")
	_, errs, code := p.mariadb(t, "-e", "SELECT 1")
	if code == 0 || !strings.Contains(errs, `ERROR 1045 (28000): sluice: refused by rule "closed": Not for pipelines.`) {
		t.Errorf("code %d, %q", code, errs)
	}
	if after := strings.Count(s.log(t), "Connect"); after != before {
		t.Errorf("the server has seen %d logins more", after-before)
	}
}

func TestTheServerKnowsTheSession(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	out, errs, _ := p.mariadb(t, "-N", "-e", "SELECT ATTR_VALUE FROM performance_schema.session_connect_attrs WHERE PROCESSLIST_ID = CONNECTION_ID() AND ATTR_NAME = 'program_name'")
	if !strings.HasPrefix(out, "sluice/") {
		t.Errorf("got %q, %q", out, errs)
	}
}
