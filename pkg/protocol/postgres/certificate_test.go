package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// certify makes a certificate for a role, signed by the authority that the
// server trusts, which is the server's own certificate.
func (s *server) certify(t *testing.T, role string) (certificate, key []byte) {
	t.Helper()
	authority, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "server.crt"), filepath.Join(s.dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: role}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.Leaf, &own.PublicKey, authority.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func TestAgentLogsInWithACertificate(t *testing.T) {
	s := realServer(t)
	t.Cleanup(func() { s.authenticate(t, "scram-sha-256") })
	secured := protocol.ServerTLS{Config: &tls.Config{RootCAs: s.roots, ServerName: "pg.example"}}
	certificate, key := s.certify(t, "app")
	strange, strangeKey := s.certify(t, "stranger")
	for _, test := range []struct {
		name, method     string
		password         string
		certificate, key []byte
		ok               bool
	}{
		{"certificate alone", "cert", "", certificate, key, true},
		{"certificate and password", "scram-sha-256 clientcert=verify-full", "app-secret", certificate, key, true},
		{"certificate without the password", "scram-sha-256 clientcert=verify-full", "", certificate, key, false},
		{"password without the certificate", "scram-sha-256 clientcert=verify-full", "app-secret", nil, nil, false},
		{"another role's certificate", "cert", "", strange, strangeKey, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.authenticate(t, test.method)
			p := startProxy(t, s, proxyOptions{
				user: "app", password: test.password, key: test.key, certificate: test.certificate, tls: secured,
			})
			out, errs, code := p.psql(t, "-At", "-c", "SELECT current_user")
			if test.ok != (code == 0 && out == "app\n") {
				t.Fatalf("psql exited %d with %q, %q", code, out, errs)
			}
		})
	}
}

func TestCertificateThatCannotBeShownIsAFault(t *testing.T) {
	s := realServer(t)
	certificate, _ := s.certify(t, "app")
	_, strange := s.certify(t, "stranger")
	for name, o := range map[string]proxyOptions{
		"another key": {tls: protocol.ServerTLS{Config: &tls.Config{RootCAs: s.roots, ServerName: "pg.example"}}, key: strange},
		"no TLS":      {tls: protocol.ServerTLS{Mode: protocol.TLSOff}, key: strange},
	} {
		t.Run(name, func(t *testing.T) {
			o.user, o.certificate = "app", certificate
			p := startProxy(t, s, o)
			if out, _, code := p.psql(t, "-At", "-c", "SELECT 1"); code == 0 {
				t.Fatalf("psql said %q", out)
			}
			if err := <-p.errs; err == nil || strings.Contains(err.Error(), "BEGIN") {
				t.Fatalf("the session ended with %v", err)
			}
		})
	}
}
