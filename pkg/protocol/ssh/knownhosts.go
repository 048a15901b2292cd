package ssh

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // of hashed names, as OpenSSH has it
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// knownHosts are the keys of servers, as sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
type knownHosts struct {
	keys        []knownKey // of the session's hosts only
	authorities []knownKey
	revoked     []knownKey // whatever the host
	names       []string   // that a certificate may be for, without a port
}

type knownKey struct {
	key    ssh.PublicKey
	digest []byte // its wire form
}

func (k knownKey) is(other []byte) bool { return bytes.Equal(k.digest, other) }

// parseKnownHosts reads the lines that speak of a server: one of the names, or
// the address, at the port. A line that cannot be read is an error: it might
// have revoked a key.
func parseKnownHosts(text []byte, names []string, server netip.AddrPort) (*knownHosts, error) {
	known := &knownHosts{names: append(slices.Clone(names), server.Addr().Unmap().String())}
	var wanted []string
	for _, name := range known.names {
		if server.Port() != 22 {
			name = "[" + name + "]:" + strconv.Itoa(int(server.Port()))
		}
		wanted = append(wanted, name)
	}
	for {
		marker, hosts, key, _, rest, err := ssh.ParseKnownHosts(text)
		if errors.Is(err, io.EOF) {
			return known, nil
		}
		if err != nil {
			return nil, reason("a line of the known hosts cannot be read")
		}
		text = rest
		entry := knownKey{key: key, digest: key.Marshal()}
		if marker == "revoked" {
			known.revoked = append(known.revoked, entry)
			continue
		}
		if !slices.ContainsFunc(wanted, func(name string) bool { return matchHosts(hosts, name) }) {
			continue
		}
		switch marker {
		case "":
			known.keys = append(known.keys, entry)
		case "cert-authority":
			known.authorities = append(known.authorities, entry)
		}
	}
}

// matchHosts reports whether a list of patterns is for a host: one matches, and
// none that is negated does.
func matchHosts(patterns []string, host string) bool {
	matched := false
	for _, pattern := range patterns {
		positive, negated := strings.CutPrefix(pattern, "!")
		if !matchHost(positive, host) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

func matchHost(pattern, host string) bool {
	if strings.HasPrefix(pattern, "|1|") {
		return matchHashed(pattern, host)
	}
	// path.Match knows classes, which OpenSSH's patterns do not.
	pattern = strings.NewReplacer(`\`, `\\`, "[", `\[`, "/", `\/`).Replace(strings.ToLower(pattern))
	matched, err := path.Match(pattern, strings.ToLower(host))
	return err == nil && matched
}

// matchHashed compares with a name that is kept as |1|salt|HMAC-SHA-1.
func matchHashed(pattern, host string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[2])
	hash, err2 := base64.StdEncoding.DecodeString(parts[3])
	if err1 != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(host))
	return hmac.Equal(mac.Sum(nil), hash)
}

// algorithms returns what to ask the server for: certificates where an
// authority is known, then the kinds of the known keys.
func (k *knownHosts) algorithms() []string {
	var all []string
	if len(k.authorities) > 0 {
		all = append(all,
			ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
			ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01)
	}
	for _, known := range k.keys {
		kinds := []string{known.key.Type()}
		if kinds[0] == ssh.KeyAlgoRSA {
			kinds = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, kind := range kinds {
			if !slices.Contains(all, kind) {
				all = append(all, kind)
			}
		}
	}
	return all
}

// check is an ssh.HostKeyCallback: nil only for a server that is known.
func (k *knownHosts) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	certificate, ok := key.(*ssh.Certificate)
	if ok {
		return k.checkCertificate(certificate)
	}
	wire := key.Marshal()
	if k.isRevoked(wire) {
		return reason("the server's host key is revoked")
	}
	if slices.ContainsFunc(k.keys, func(known knownKey) bool { return known.is(wire) }) {
		return nil
	}
	return reason("the server's " + key.Type() + " host key is not among the known hosts")
}

func (k *knownHosts) checkCertificate(certificate *ssh.Certificate) error {
	authority := certificate.SignatureKey.Marshal()
	if k.isRevoked(authority) || k.isRevoked(certificate.Key.Marshal()) || k.isRevoked(certificate.Marshal()) {
		return reason("the server's host certificate is revoked")
	}
	if certificate.CertType != ssh.HostCert || len(certificate.ValidPrincipals) == 0 {
		return reason("the server's certificate is not one of a host")
	}
	if !slices.ContainsFunc(k.authorities, func(known knownKey) bool { return known.is(authority) }) {
		return reason("the server's host certificate is by no authority of the known hosts")
	}
	checker := ssh.CertChecker{Clock: time.Now}
	for _, name := range k.names {
		if checker.CheckCert(name, certificate) == nil {
			return nil
		}
	}
	return reason("the server's host certificate is not valid for this host now")
}

func (k *knownHosts) isRevoked(wire []byte) bool {
	return slices.ContainsFunc(k.revoked, func(known knownKey) bool { return known.is(wire) })
}
