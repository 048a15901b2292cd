package collector

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/sluicegate/sluice/pkg/config"
)

// authorities reads the certificates of a file; nil, the system's, for none.
func authorities(file config.Path) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(string(file))
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// clientTLS is how a server of somebody else's is spoken to, in a version of
// TLS at least: whom it must prove to be by, and what it is shown.
func clientTLS(version uint16, ca, cert, key config.Path) (*tls.Config, error) {
	roots, err := authorities(ca)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: version, RootCAs: roots}
	if cert == "" {
		return cfg, nil
	}
	certificate, err := tls.LoadX509KeyPair(string(cert), string(key))
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	cfg.Certificates = []tls.Certificate{certificate}
	return cfg, nil
}
