package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/sluicegate/sluice/pkg/config"
)

// settings is the file ~/.config/sluice/config.yaml. Flags win over it.
type settings struct {
	// Collector is the URL of the collector's API. Default:
	// http://127.0.0.1:8420.
	Collector string `yaml:"collector"`
	// PlainText allows http to an address other than loopback, where the
	// network itself is trusted: statements and your token travel readable.
	PlainText bool `yaml:"plain_text"`
	// TokenFile holds your token, where sluice login keeps it. Only you may read
	// it. Default: token, beside the usual configuration file.
	TokenFile config.Path `yaml:"token_file"`
	// CAFile holds the certificates that the collector's is checked against.
	// Empty: the system's.
	CAFile config.Path `yaml:"ca_file"`
	// Trust is the trust file: the pinned keys of the log and of the agents.
	// Take it from whoever runs the collector, not from the collector.
	Trust config.Path `yaml:"trust"`
	// Key is your private key for votes: Ed25519, as ssh-keygen writes it, or
	// PKCS #8 in PEM.
	Key config.Path `yaml:"key"`
	// Approver is your name in the roster. Empty: as the collector knows you.
	Approver string `yaml:"approver"`
}

// Defaults sets what holds where the file says nothing.
func (s *settings) Defaults() { s.Collector = "http://127.0.0.1:8420" }

// Validate reports what cannot work.
func (s *settings) Validate(report config.Problems) {
	u, err := url.Parse(s.Collector)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		report("collector", "is not a URL that begins with https:// or http://")
	}
}

// loadSettings reads the file that was asked for, or the usual one if it is
// there, and lets the flags have their say.
func loadSettings(f flags) (settings, error) {
	var s settings
	s.Defaults()
	path := f.config
	if path == "" {
		if home, err := os.UserConfigDir(); err == nil {
			path = filepath.Join(home, "sluice", "config.yaml")
		}
	}
	if path != "" {
		loaded, err := config.Load[settings](path)
		switch {
		case err == nil:
			s = loaded
		case f.config != "" || !errors.Is(err, fs.ErrNotExist):
			return s, err
		}
	}
	for _, override := range []struct {
		flag string
		into *config.Path
	}{{f.tokenFile, &s.TokenFile}, {f.caFile, &s.CAFile}, {f.trust, &s.Trust}} {
		if override.flag != "" {
			*override.into = config.Path(override.flag)
		}
	}
	if f.collector != "" {
		s.Collector = f.collector
	}
	return s, nil
}
