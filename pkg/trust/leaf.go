package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	leafLife = 24 * time.Hour
	// leafRest is how much of its life a leaf must still have to be shown.
	leafRest = leafLife / 2
	// leavesKept bounds the memory for leaves: a resource may be a large block
	// of addresses, and the job chooses among them.
	leavesKept = 4096
	// leafSubject cannot be read as a host's name, which OpenSSL would hold
	// against the constraints.
	leafSubject = "Sluice client leg"
)

// Authority signs leaves. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  crypto.PrivateKey

	mu     sync.Mutex
	leaves map[string]*tls.Certificate // by what they are for; guarded by mu
}

// Config returns how a client leg is secured for one resource and the address
// that the job asked for: with one certificate for the resource's names and,
// where the authority may speak for it, that address. What the client names in
// SNI changes nothing. Versions before TLS 1.2 are refused.
func (a *Authority) Config(names []string, asked netip.Addr) *tls.Config {
	return a.ConfigBy(asked, func(string) ([]string, bool) { return names, true })
}

// ConfigBy is Config where the name that the client asks for in SNI decides for
// which names the certificate is, and whether there is one: without, the client
// is told that nobody here has its name. No session is resumed, in which the
// client would see no certificate. ECH is not spoken: what counts is the outer name.
func (a *Authority) ConfigBy(asked netip.Addr, names func(serverName string) (names []string, known bool)) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			names, known := names(hello.ServerName)
			if !known {
				return nil, nil //nolint:nilnil // crypto/tls answers unrecognized_name then, and internal_error to any error
			}
			return a.leaf(names, asked.Unmap().WithZone(""))
		},
	}
}

// leaf returns a certificate from memory, or makes it.
func (a *Authority) leaf(names []string, asked netip.Addr) (*tls.Certificate, error) {
	key := strings.Join(names, " ") + " " + asked.String()
	a.mu.Lock()
	defer a.mu.Unlock()
	if leaf := a.leaves[key]; leaf != nil && time.Until(leaf.Leaf.NotAfter) > leafRest {
		return leaf, nil
	}
	leaf, err := a.sign(names, asked)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	if len(a.leaves) >= leavesKept {
		clear(a.leaves)
	}
	a.leaves[key] = leaf
	return leaf, nil
}

func (a *Authority) sign(names []string, asked netip.Addr) (*tls.Certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := unsigned(leafSubject, leafLife)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.DNSNames = names
	if a.permits(asked) {
		template.IPAddresses = []net.IP{asked.AsSlice()}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: private, Leaf: leaf}, nil
}

// permits reports whether the authority may speak for an address.
func (a *Authority) permits(addr netip.Addr) bool {
	for _, n := range a.cert.PermittedIPRanges {
		if addr.IsValid() && n.Contains(addr.AsSlice()) {
			return true
		}
	}
	return false
}
