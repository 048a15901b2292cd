package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// secret returns the lab's secret of that name, made at random at first use.
func (l *lab) secret(name string) (string, error) {
	file := l.path("secrets", name)
	text, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	value := rand.Text()
	return value, os.WriteFile(file, []byte(value+"\n"), 0o600)
}

// caFile is the authority that signed the certificates of the lab's servers.
func (l *lab) caFile() string { return l.path("ca.pem") }

// issueServerCertificate makes an authority and one server certificate, which
// PostgreSQL finds in its data directory under its usual names. The
// authority's key is not kept.
func (l *lab) issueServerCertificate(data, name, address string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := certificate("Sluice lab authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := certificate(name)
	leaf.DNSNames, leaf.IPAddresses = []string{name}, []net.IP{net.ParseIP(address)}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	keyFile, certFile := filepath.Join(data, "server.key"), filepath.Join(data, "server.crt")
	err = errors.Join(
		writePEM(l.caFile(), "CERTIFICATE", caDER),
		writePEM(certFile, "CERTIFICATE", leafDER),
		writePEM(keyFile, "PRIVATE KEY", keyDER),
	)
	if err != nil {
		return err
	}
	_, err = command("chown", "postgres:postgres", keyFile, certFile)
	return err
}

func certificate(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails: crypto/rand ends the program instead
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
