package trust_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/trust"
)

var shop = trust.Constraints{Names: []string{"pg.lab"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}

func authority(t *testing.T, bounds trust.Constraints) (*trust.Authority, []byte) {
	t.Helper()
	cert, key, err := trust.New(bounds, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a, err := trust.Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return a, cert
}

// shake lets a client that trusts root connect, and returns why it did not.
func shake(t *testing.T, config *tls.Config, root []byte, name string) error {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	near, far := net.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- tls.Server(far, config).HandshakeContext(ctx); _ = far.Close() }()
	err := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: name}).HandshakeContext(ctx)
	_ = near.Close()
	<-served
	return err
}

func TestLeafIsForTheResourceAndNothingElse(t *testing.T) {
	a, root := authority(t, shop)
	for _, test := range []struct {
		asked, name string
		ok          bool
	}{
		{"192.0.2.7", "pg.lab", true},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"192.0.2.7", "other.lab", false},
		{"198.51.100.7", "pg.lab", true},        // a name's address: the name is what counts
		{"198.51.100.7", "198.51.100.7", false}, // the authority cannot speak for it
		{"::ffff:192.0.2.7", "192.0.2.7", true},
	} {
		err := shake(t, a.Config([]string{"pg.lab"}, netip.MustParseAddr(test.asked)), root, test.name)
		if test.ok != (err == nil) {
			t.Errorf("asked for %s, verified %s: %v", test.asked, test.name, err)
		}
	}
}

// A stolen key must speak for nothing else, to clients of every kind.
func TestStolenKeySpeaksForNothingElse(t *testing.T) {
	for _, test := range []struct {
		bounds trust.Constraints
		name   string
		ok     bool
	}{
		{shop, "pg.lab", true},
		{shop, "bank.example", false},
		{shop, "198.51.100.1", false},
		{trust.Constraints{Names: []string{"pg.lab"}}, "192.0.2.7", false},
		{trust.Constraints{Prefixes: shop.Prefixes}, "bank.example", false},
		{trust.Constraints{Prefixes: shop.Prefixes}, "2001:db8::1", false},
	} {
		cert, key, err := trust.New(test.bounds, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		leaf := forge(t, cert, key, test.name)
		dir := t.TempDir()
		root, file := filepath.Join(dir, "root.pem"), filepath.Join(dir, "leaf.pem")
		for name, text := range map[string][]byte{root: cert, file: leaf} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command("openssl", "verify", "-purpose", "sslserver", "-CAfile", root, file).CombinedOutput()
		if test.ok != (err == nil) {
			t.Errorf("openssl, %s under %v: %v, %s", test.name, test.bounds, err, out)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(cert)
		block, _ := pem.Decode(leaf)
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsed.Verify(x509.VerifyOptions{Roots: roots}); test.ok != (err == nil) {
			t.Errorf("go, %s under %v: %v", test.name, test.bounds, err)
		}
	}
}

// forge signs a leaf with a stolen key.
func forge(t *testing.T, cert, key []byte, name string) []byte {
	t.Helper()
	stolen, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "forged"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute),
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(nil, template, stolen.Leaf, stolen.Leaf.PublicKey, stolen.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestAuthorityWithoutConstraintsIsRefused(t *testing.T) {
	if _, _, err := trust.New(trust.Constraints{}, time.Hour); err == nil {
		t.Error("an authority for nothing was made")
	}
	cert, key, err := trust.New(shop, -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.Load(cert, key); err == nil || !strings.Contains(err.Error(), "ended on") {
		t.Errorf("an authority that has ended: %v", err)
	}
	cert, key, err = trust.New(shop, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*x509.Certificate){
		"no constraints": func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedIPRanges = nil, nil
		},
		"no constraint of addresses": func(c *x509.Certificate) { c.PermittedIPRanges = nil },
		"no constraint of names":     func(c *x509.Certificate) { c.PermittedDNSDomains = nil },
		"all addresses": func(c *x509.Certificate) {
			c.PermittedIPRanges = []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}}
		},
		"not critical": func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false },
		"no authority": func(c *x509.Certificate) { c.IsCA, c.MaxPathLen, c.MaxPathLenZero = false, 0, false },
	} {
		edited := *pair.Leaf
		edit(&edited)
		der, err := x509.CreateCertificate(nil, &edited, &edited, edited.PublicKey, pair.PrivateKey)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := trust.Load(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key); err == nil {
			t.Errorf("%s: was loaded", name)
		}
	}
	if _, err := trust.Load([]byte("x"), key); err == nil {
		t.Error("nonsense was loaded")
	}
}

func TestAuthorityTellsWhatItCannotSpeakFor(t *testing.T) {
	a, _ := authority(t, shop)
	for _, test := range []struct {
		wanted trust.Constraints
		ok     bool
	}{
		{shop, true},
		{trust.Constraints{Names: []string{"replica.pg.lab"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}}, true},
		{trust.Constraints{Names: []string{"xpg.lab"}}, false},
		{trust.Constraints{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.0.0/16")}}, false},
		{trust.Constraints{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}}, false},
	} {
		if err := a.Covers(test.wanted); test.ok != (err == nil) {
			t.Errorf("%v: %v", test.wanted, err)
		}
	}
}
