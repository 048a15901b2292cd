package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/config"
)

// loadBus reads how the bus and the agent know each other.
func loadBus(cfg config.Agent) (bus.Security, error) {
	seed, err := os.ReadFile(string(cfg.Bus.NkeySeedFile))
	if err != nil {
		return bus.Security{}, fmt.Errorf("bus.nkey_seed_file: %w", err)
	}
	security := bus.Security{Seed: bytes.TrimSpace(seed)}
	if strings.HasPrefix(cfg.Bus.URL, "tls://") {
		if security.TLS, err = busTLS(string(cfg.Bus.CAFile)); err != nil {
			return bus.Security{}, fmt.Errorf("bus.ca_file: %w", err)
		}
	}
	return security, nil
}

func busTLS(caFile string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", caFile)
	}
	return cfg, nil
}
