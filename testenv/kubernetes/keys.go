package kubernetes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs certificates: one the server's, another those of its users.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	wanted := wish(name, nil)
	wanted.IsCA, wanted.BasicConstraintsValid, wanted.KeyUsage = true, true, x509.KeyUsageCertSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := sign(wanted, wanted, key, key)
	return &authority{cert, key}, err
}

// issue writes a key and a certificate.
func (a *authority) issue(wanted *x509.Certificate, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert, err := sign(wanted, a.cert, key, a.key)
	if err != nil {
		return err
	}
	return errors.Join(writePEM(certFile, "CERTIFICATE", cert.Raw), writeKey(keyFile, key))
}

// wish is a certificate as one asks for it. An API server takes a user's name
// and groups from it (authentication: X509 client certificates).
func wish(name string, groups []string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails: crypto/rand ends the program instead
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: groups},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 7),
	}
}

func sign(wanted, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, wanted, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// writeKeys makes the authorities, the server's certificate, and the key of the
// tokens that it issues to service accounts.
func (s *Server) writeKeys() error {
	servers, err := newAuthority("cluster authority")
	if err != nil {
		return err
	}
	if s.users, err = newAuthority("users authority"); err != nil {
		return err
	}
	wanted := wish("kube-apiserver", nil)
	wanted.IPAddresses, wanted.DNSNames = []net.IP{net.ParseIP(s.config.Address), net.IPv4(127, 0, 0, 1)}, s.config.Names
	wanted.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	accounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(accounts.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(s.CAFile, "CERTIFICATE", servers.cert.Raw), writePEM(s.path("users.pem"), "CERTIFICATE", s.users.cert.Raw),
		servers.issue(wanted, s.path("server.pem"), s.path("server.key")),
		writeKey(s.path("accounts.key"), accounts), writePEM(s.path("accounts.pub"), "PUBLIC KEY", public),
	)
}

// Certify writes a client certificate of a user, and its key, as NAME.pem and
// NAME.key beside the server's files.
func (s *Server) Certify(user string, groups ...string) (certFile, keyFile string, err error) {
	wanted := wish(user, groups)
	wanted.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	certFile, keyFile = s.path("user-"+filepath.Base(user)+".pem"), s.path("user-"+filepath.Base(user)+".key")
	return certFile, keyFile, s.users.issue(wanted, certFile, keyFile)
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(file, "PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
