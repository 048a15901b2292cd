package trust_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/trust"
)

// TestAuthorityThatAClustersOwnHasSignedIsBelievedByItsClients signs as
// operations.md says: clients that know the cluster's authority alone believe
// the agent then, for what it protects and nothing else.
func TestAuthorityThatAClustersOwnHasSignedIsBelievedByItsClients(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, kind string, der []byte) []byte {
		t.Helper()
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(file(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return text
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cluster := write("ca.crt", "CERTIFICATE", der)
	if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		t.Fatal(err)
	}
	write("ca.key", "PRIVATE KEY", der)
	bounds := trust.Constraints{Names: []string{"kubernetes.default.svc"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}
	cert, agentKey, err := trust.New(bounds, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("ca.pem"), cert, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("openssl", "x509", "-in", file("ca.pem"), "-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-CAcreateserial",
		"-days", "1", "-out", file("signed.pem")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	signed, err := os.ReadFile(file("signed.pem"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := trust.Load(signed, agentKey)
	if err != nil {
		t.Fatal(err)
	}
	config := a.Config([]string{"kubernetes.default.svc"}, netip.MustParseAddr("192.0.2.1"))
	for _, name := range []string{"kubernetes.default.svc", "192.0.2.1"} {
		if err := shake(t, config, cluster, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Those who believe the agent's own authority go on believing it: the key is
	// the same.
	if err := shake(t, config, cert, "kubernetes.default.svc"); err != nil {
		t.Error(err)
	}
	if err := shake(t, a.Config([]string{"bank.example"}, netip.MustParseAddr("192.0.2.1")), cluster, "bank.example"); err == nil {
		t.Error("the agent speaks for a server that it does not protect")
	}
}
