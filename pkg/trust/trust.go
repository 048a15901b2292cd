// Package trust has the authorities for the agent's client legs: one signs the
// certificates that servers would show, so that a job which insists on TLS can
// be inspected; the other signs SSH host certificates.
//
// It promises that an authority which it makes or loads is bound by critical
// name constraints to the names and addresses that it was made for, so that
// its key, when it is stolen, speaks for nothing else; SSH has no such
// constraints, so there the jobs' known hosts have to say it. Leaves and host
// certificates live for a day and in memory only. It does not bring the authority's certificate
// into jobs: their image or their fleet's owner does.
package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Constraints are the only names and addresses that an authority can speak
// for. A name stands for its subdomains too (RFC 5280, section 4.2.1.10).
type Constraints struct {
	Names    []string
	Prefixes []netip.Prefix
}

// clockSkew is how far behind a job's clock may be.
const clockSkew = 10 * time.Minute

// New makes an authority that ends after valid, as PEM: its certificate, and
// its key in PKCS #8.
func New(bounds Constraints, valid time.Duration) (certificate, key []byte, err error) {
	if len(bounds.Names)+len(bounds.Prefixes) == 0 {
		return nil, nil, errors.New("make authority: it would speak for nothing: name a host or a block of addresses")
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make authority: %w", err)
	}
	template := unsigned("Sluice client leg authority", valid)
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	bounds.constrain(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("make authority: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("make authority: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// constrain writes the constraints into an authority's certificate. A kind of
// name that is not permitted at all has to be excluded: a constraint says
// nothing about other kinds.
func (c Constraints) constrain(template *x509.Certificate) {
	template.PermittedDNSDomainsCritical = true
	template.PermittedDNSDomains = c.Names
	if len(c.Names) == 0 {
		template.ExcludedDNSDomains = []string{""}
	}
	for _, prefix := range c.Prefixes {
		template.PermittedIPRanges = append(template.PermittedIPRanges, ipNet(prefix))
	}
	if len(c.Prefixes) == 0 {
		template.ExcludedIPRanges = []*net.IPNet{
			ipNet(netip.MustParsePrefix("0.0.0.0/0")), ipNet(netip.MustParsePrefix("::/0")),
		}
	}
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	prefix = prefix.Masked()
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}

func unsigned(name string, valid time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // never fails: crypto/rand ends the program instead
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(valid),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

// Load reads an authority. One without name constraints is refused, whoever
// made it: with it the agent could speak for any server.
func Load(certificate, key []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	cert := pair.Leaf
	switch {
	case !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("load authority: the certificate is not an authority's")
	case !cert.PermittedDNSDomainsCritical || !constrainsNames(cert) || !constrainsAddresses(cert):
		return nil, errors.New("load authority: the certificate has no critical name constraints for names and for addresses: an authority of the agent must be bound to what it protects")
	case time.Now().After(cert.NotAfter):
		return nil, fmt.Errorf("load authority: the certificate ended on %s", cert.NotAfter.Format(time.DateOnly))
	}
	return &Authority{cert: cert, key: pair.PrivateKey, leaves: make(map[string]*tls.Certificate)}, nil
}

func constrainsNames(cert *x509.Certificate) bool {
	return !slices.Contains(cert.PermittedDNSDomains, "") &&
		(len(cert.PermittedDNSDomains) > 0 || slices.Contains(cert.ExcludedDNSDomains, ""))
}

// constrainsAddresses reports whether an authority is bound for both families,
// as one permitted range binds all addresses.
func constrainsAddresses(cert *x509.Certificate) bool {
	everything := func(n *net.IPNet) bool { ones, _ := n.Mask.Size(); return ones == 0 }
	if len(cert.PermittedIPRanges) > 0 {
		return !slices.ContainsFunc(cert.PermittedIPRanges, everything)
	}
	excluded := make(map[int]bool)
	for _, n := range cert.ExcludedIPRanges {
		excluded[len(n.IP)] = excluded[len(n.IP)] || everything(n)
	}
	return excluded[net.IPv4len] && excluded[net.IPv6len]
}

// Covers reports the first name or block that the authority cannot speak for.
func (a *Authority) Covers(wanted Constraints) error {
	for _, name := range wanted.Names {
		if !slices.ContainsFunc(a.cert.PermittedDNSDomains, func(d string) bool { return name == d || strings.HasSuffix(name, "."+d) }) {
			return fmt.Errorf("the authority cannot speak for %s: make a new one", name)
		}
	}
	for _, prefix := range wanted.Prefixes {
		if !slices.ContainsFunc(a.cert.PermittedIPRanges, func(n *net.IPNet) bool { return contains(n, prefix) }) {
			return fmt.Errorf("the authority cannot speak for %s: make a new one", prefix)
		}
	}
	return nil
}

func contains(n *net.IPNet, prefix netip.Prefix) bool {
	ones, _ := n.Mask.Size()
	return ones <= prefix.Bits() && n.Contains(prefix.Addr().AsSlice())
}
