package ssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func key(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func line(lead string, signer ssh.Signer) string {
	return lead + " " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// hostCertificate is for a name, by an authority, until some time from now.
func hostCertificate(t *testing.T, of, by ssh.Signer, kind uint32, life time.Duration, names ...string) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{
		Key: of.PublicKey(), CertType: kind, ValidPrincipals: names,
		ValidAfter: uint64(time.Now().Add(-time.Hour).Unix()), ValidBefore: uint64(time.Now().Add(life).Unix()), //nolint:gosec // now
	}
	if err := c.SignCert(rand.Reader, by); err != nil {
		t.Fatal(err)
	}
	return c
}

// hashed is a line whose names OpenSSH has hashed.
func hashed(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-H", "-f", file).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	out, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(out), "ssh.lab") {
		t.Fatal(err, string(out))
	}
	return string(out)
}

func TestOnlyKnownServersAreSpokenTo(t *testing.T) {
	host, other, authority := key(t), key(t), key(t)
	good := hostCertificate(t, host, authority, ssh.HostCert, time.Hour, "ssh.lab")
	for name, test := range map[string]struct {
		text  string
		port  uint16
		shown ssh.PublicKey
		ok    bool
	}{
		"the key":                       {line("ssh.lab", host), 22, host.PublicKey(), true},
		"the key by address":            {line("192.0.2.7", host), 22, host.PublicKey(), true},
		"among others":                  {line("a.lab", other) + "# comment\n\n" + line("b.lab,ssh.lab", host), 22, host.PublicKey(), true},
		"by a pattern":                  {line("*.lab,!ssh.example", host), 22, host.PublicKey(), true},
		"hashed":                        {hashed(t, line("ssh.lab", host)), 22, host.PublicKey(), true},
		"at a port":                     {line("[ssh.lab]:2222", host), 2222, host.PublicKey(), true},
		"at another port":               {line("[ssh.lab]:2222", host), 22, host.PublicKey(), false},
		"without the port":              {line("ssh.lab", host), 2222, host.PublicKey(), false},
		"another key":                   {line("ssh.lab", host), 22, other.PublicKey(), false},
		"another host's key":            {line("other.lab", host), 22, host.PublicKey(), false},
		"but not this host":             {line("*.lab,!ssh.lab", host), 22, host.PublicKey(), false},
		"nobody":                        {"", 22, host.PublicKey(), false},
		"revoked":                       {line("ssh.lab", host) + line("@revoked *", host), 22, host.PublicKey(), false},
		"a certificate":                 {line("@cert-authority *.lab", authority), 22, good, true},
		"for another host":              {line("@cert-authority other.lab", authority), 22, good, false},
		"by another authority":          {line("@cert-authority *.lab", other), 22, good, false},
		"by a host's key":               {line("ssh.lab", authority), 22, good, false},
		"the authority itself":          {line("@cert-authority *.lab", authority), 22, authority.PublicKey(), false},
		"by a revoked authority":        {line("@cert-authority *.lab", authority) + line("@revoked *", authority), 22, good, false},
		"of a revoked key":              {line("@cert-authority *.lab", authority) + line("@revoked *", host), 22, good, false},
		"a certificate of another name": {line("@cert-authority *.lab", authority), 22, hostCertificate(t, host, authority, ssh.HostCert, time.Hour, "x.lab"), false},
		"of no name":                    {line("@cert-authority *.lab", authority), 22, hostCertificate(t, host, authority, ssh.HostCert, time.Hour), false},
		"of a user":                     {line("@cert-authority *.lab", authority), 22, hostCertificate(t, host, authority, ssh.UserCert, time.Hour, "ssh.lab"), false},
		"that has ended":                {line("@cert-authority *.lab", authority), 22, hostCertificate(t, host, authority, ssh.HostCert, -time.Minute, "ssh.lab"), false},
	} {
		t.Run(name, func(t *testing.T) {
			known, err := parseKnownHosts([]byte(test.text), []string{"ssh.lab"}, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), test.port))
			if err != nil {
				t.Fatal(err)
			}
			if err := known.check("", nil, test.shown); (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := parseKnownHosts([]byte("ssh.lab ssh-ed25519 nonsense\n"), nil, netip.MustParseAddrPort("192.0.2.7:22")); err == nil {
		t.Error("a line that cannot be read was passed over")
	}
}

func TestAddressesAreReadAsResolversDo(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "0xc0.0.2.7": "192.0.2.7", "3221225991": "192.0.2.7", "192.519": "192.0.2.7", "0300.0.2.7": "192.0.2.7",
		"::ffff:192.0.2.7": "192.0.2.7", "DB.Lab.": "db.lab", "1.2.3.4.5": "1.2.3.4.5", "256.1.1.1": "256.1.1.1", "1_0": "1_0",
	} {
		if got, _ := numeric(host); got != want {
			t.Errorf("%s is %s, want %s", host, got, want)
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST.", "a.localhost", "127.1", "0", "::", "::1", "0x7f000001", "::ffff:127.0.0.1", "127.0.0.53", "[::1%lo]"[1:7]} {
		if _, loopback := numeric(host); !loopback {
			t.Errorf("%s is the host itself", host)
		}
	}
}
