package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// rsaBits is the size of the RSA host key, which lives in memory only.
const rsaBits = 2048

// HostKey is one that the agent shows for a host. With its certificate it is
// believed by whoever believes the authority.
type HostKey struct {
	Key         crypto.Signer
	Certificate []byte // in OpenSSH's wire format; nil: the bare key
}

// HostAuthority signs SSH host certificates, and has the host keys that they
// are for. It is safe for concurrent use.
//
// SSH knows no name constraints: what the authority can speak for is what the
// jobs' known hosts let it (KnownHosts), and each certificate names its hosts.
type HostAuthority struct {
	signer ssh.Signer
	seed   []byte // secret; host keys that have to stay the same come from it
	rsa    *rsa.PrivateKey

	mu   sync.Mutex
	kept map[string]hostKeys // by the hosts that they are for; guarded by mu
}

type hostKeys struct {
	keys []HostKey
	ends time.Time
}

// NewHostAuthority makes an authority: its key in OpenSSH's format, and its
// public key as a line.
func NewHostAuthority() (key, public []byte, err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make host authority: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "sluice host authority")
	if err != nil {
		return nil, nil, fmt.Errorf("make host authority: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("make host authority: %w", err)
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(signer.PublicKey()), nil
}

// LoadHostAuthority reads an authority's key, which must be Ed25519. It makes
// the RSA host key, which takes some tenths of a second.
func LoadHostAuthority(key []byte) (*HostAuthority, error) {
	raw, err := ssh.ParseRawPrivateKey(key)
	if err != nil {
		return nil, errors.New("load host authority: it is no private key without a passphrase")
	}
	private, ok := raw.(*ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("load host authority: it is no Ed25519 key: make it with sluice-agent authority")
	}
	a := &HostAuthority{seed: private.Seed(), kept: make(map[string]hostKeys)}
	if a.signer, err = ssh.NewSignerFromKey(*private); err != nil {
		return nil, fmt.Errorf("load host authority: %w", err)
	}
	if a.rsa, err = rsa.GenerateKey(rand.Reader, rsaBits); err != nil {
		return nil, fmt.Errorf("load host authority: %w", err)
	}
	return a, nil
}

// HostKeys returns what to show a client that asked for an address of a
// resource with these names: Ed25519, ECDSA and RSA keys with certificates for
// all names and that address, and the bare Ed25519 and ECDSA keys for clients
// that know no certificates. These two are the same for as long as the
// authority and the names are.
func (a *HostAuthority) HostKeys(names []string, asked netip.Addr) ([]HostKey, error) {
	principals := append(slices.Clone(names), asked.Unmap().WithZone("").String())
	id := strings.Join(principals, " ")
	a.mu.Lock()
	defer a.mu.Unlock()
	if kept := a.kept[id]; time.Until(kept.ends) > leafRest {
		return kept.keys, nil
	}
	keys, err := a.certify(names, principals)
	if err != nil {
		return nil, fmt.Errorf("sign host certificates: %w", err)
	}
	if len(a.kept) >= leavesKept {
		clear(a.kept)
	}
	a.kept[id] = hostKeys{keys: keys, ends: time.Now().Add(leafLife)}
	return keys, nil
}

func (a *HostAuthority) certify(names, principals []string) ([]HostKey, error) {
	lasting, err := a.lasting(names)
	if err != nil {
		return nil, err
	}
	var keys []HostKey
	for _, key := range append(slices.Clone(lasting), a.rsa) {
		certificate, err := a.certificate(key, principals)
		if err != nil {
			return nil, err
		}
		keys = append(keys, HostKey{Key: key, Certificate: certificate})
	}
	for _, key := range lasting {
		keys = append(keys, HostKey{Key: key})
	}
	return keys, nil
}

// lasting returns the host keys of a resource that come from the authority's
// own key.
func (a *HostAuthority) lasting(names []string) ([]crypto.Signer, error) {
	hosts := strings.Join(names, " ")
	ecdsaKey, err := a.ecdsaKey(hosts)
	if err != nil {
		return nil, err
	}
	return []crypto.Signer{ed25519.NewKeyFromSeed(a.derive("ed25519", hosts, 0)), ecdsaKey}, nil
}

// ecdsaKey derives a scalar. One in 2^32 is none of the curve's: then the next.
func (a *HostAuthority) ecdsaKey(hosts string) (*ecdsa.PrivateKey, error) {
	for i := uint32(0); ; i++ {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), a.derive("ecdsa", hosts, i))
		if err == nil || i > 8 {
			return key, err
		}
	}
}

func (a *HostAuthority) derive(kind, hosts string, attempt uint32) []byte {
	mac := hmac.New(sha256.New, a.seed)
	mac.Write([]byte("sluice host key " + kind + "\x00" + hosts))
	mac.Write(binary.BigEndian.AppendUint32(nil, attempt))
	return mac.Sum(nil)
}

func (a *HostAuthority) certificate(key crypto.Signer, principals []string) ([]byte, error) {
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	certificate := &ssh.Certificate{
		Key:             public,
		CertType:        ssh.HostCert,
		KeyId:           "sluice",
		ValidPrincipals: principals,
		ValidAfter:      uint64(now.Add(-clockSkew).Unix()), //nolint:gosec // after 1970
		ValidBefore:     uint64(now.Add(leafLife).Unix()),   //nolint:gosec // after 1970
	}
	if err := certificate.SignCert(rand.Reader, a.signer); err != nil {
		return nil, err
	}
	return certificate.Marshal(), nil
}

// Place is where the hosts of one resource are.
type Place struct {
	Hosts Constraints
	Port  uint16
}

// KnownHosts returns the lines of sshd(8)'s known hosts that make a client
// believe the authority for these places and no others, and the bare keys, for
// clients that know no certificates. A block of more than one address is
// written where a pattern can say it: an IPv4 one of whole bytes.
func (a *HostAuthority) KnownHosts(places []Place) ([]byte, error) {
	var out []byte
	for _, place := range places {
		hosts := place.patterns()
		if len(hosts) == 0 {
			continue
		}
		lead := strings.Join(hosts, ",") + " "
		out = append(out, "@cert-authority "+lead...)
		out = append(out, ssh.MarshalAuthorizedKey(a.signer.PublicKey())...)
		keys, err := a.lasting(place.Hosts.Names)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			public, err := ssh.NewPublicKey(key.Public())
			if err != nil {
				return nil, err
			}
			out = append(append(out, lead...), ssh.MarshalAuthorizedKey(public)...)
		}
	}
	return out, nil
}

// patterns are the place's hosts as known hosts have them.
func (p Place) patterns() (hosts []string) {
	hosts = slices.Clone(p.Hosts.Names)
	for _, prefix := range p.Hosts.Prefixes {
		if pattern, ok := hostPattern(prefix); ok {
			hosts = append(hosts, pattern)
		}
	}
	if p.Port == 22 {
		return hosts
	}
	for i, host := range hosts {
		hosts[i] = fmt.Sprintf("[%s]:%d", host, p.Port)
	}
	return hosts
}

// hostPattern writes a block of addresses as known hosts can.
func hostPattern(prefix netip.Prefix) (string, bool) {
	addr := prefix.Masked().Addr()
	switch {
	case prefix.IsSingleIP():
		return addr.String(), true
	case !addr.Is4() || prefix.Bits()%8 != 0 || prefix.Bits() == 0:
		return "", false
	}
	bytes := strings.Split(addr.String(), ".")[:prefix.Bits()/8]
	return strings.Join(bytes, ".") + ".*", true
}
