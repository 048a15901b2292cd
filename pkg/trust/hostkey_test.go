package trust_test

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/trust"
)

func hostAuthority(t *testing.T, key []byte) *trust.HostAuthority {
	t.Helper()
	a, err := trust.LoadHostAuthority(key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestHostCertificatesAreForTheHostAndNothingElse(t *testing.T) {
	key, public, err := trust.NewHostAuthority()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := hostAuthority(t, key).HostKeys([]string{"ssh.lab"}, netip.MustParseAddr("::ffff:192.0.2.7"))
	if err != nil {
		t.Fatal(err)
	}
	checker := ssh.CertChecker{IsHostAuthority: func(auth ssh.PublicKey, _ string) bool {
		return bytes.Equal(ssh.MarshalAuthorizedKey(auth), public)
	}}
	kinds := map[string]bool{}
	for _, k := range keys {
		if k.Certificate == nil {
			kinds["bare "+kind(t, k)] = true
			continue
		}
		parsed, err := ssh.ParsePublicKey(k.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		kinds[kind(t, k)] = true
		for host, ok := range map[string]bool{"ssh.lab:22": true, "192.0.2.7:22": true, "other.lab:22": false, "192.0.2.8:22": false} {
			if err := checker.CheckHostKey(host, nil, parsed); (err == nil) != ok {
				t.Errorf("%s as %s: %v", parsed.Type(), host, err)
			}
		}
		if life := time.Until(time.Unix(int64(parsed.(*ssh.Certificate).ValidBefore), 0)); life > 25*time.Hour { //nolint:gosec // near
			t.Errorf("%s lives %v", parsed.Type(), life)
		}
	}
	for _, want := range []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", "bare ssh-ed25519", "bare ecdsa-sha2-nistp256"} {
		if !kinds[want] {
			t.Errorf("no %s key", want)
		}
	}
}

func kind(t *testing.T, k trust.HostKey) string {
	t.Helper()
	public, err := ssh.NewPublicKey(k.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public.Type()
}

// What jobs pinned must be what they see after a restart, and another
// resource's hosts have other keys.
func TestBareHostKeysLast(t *testing.T) {
	key, _, err := trust.NewHostAuthority()
	if err != nil {
		t.Fatal(err)
	}
	places := []trust.Place{
		{Hosts: trust.Constraints{Names: []string{"ssh.lab"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/25")}}, Port: 22},
		{Hosts: trust.Constraints{Names: []string{"git.lab"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/128")}}, Port: 2222},
	}
	first, err := hostAuthority(t, key).KnownHosts(places)
	if err != nil {
		t.Fatal(err)
	}
	second, err := hostAuthority(t, key).KnownHosts(places)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("after a restart they differ: %v\n%s\n%s", err, first, second)
	}
	lines := strings.Split(strings.TrimSpace(string(first)), "\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[0], "@cert-authority ssh.lab,192.0.2.* ssh-ed25519 ") ||
		!strings.HasPrefix(lines[4], "[git.lab]:2222,[2001:db8::1]:2222 ssh-ed25519 ") || lines[1] == strings.Replace(lines[4], "[git.lab]:2222,[2001:db8::1]:2222", "ssh.lab,192.0.2.*", 1) {
		t.Errorf("got\n%s", first)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, first, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"ssh.lab", "192.0.2.77", "[git.lab]:2222"} {
		if out, err := exec.Command("ssh-keygen", "-F", host, "-f", file).CombinedOutput(); err != nil {
			t.Errorf("ssh-keygen does not find %s: %v\n%s", host, err, out)
		}
	}
}

func TestWhatIsNoHostAuthorityIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"-t", "rsa", "-N", ""}, {"-t", "ed25519", "-N", "a passphrase"}} {
		file := filepath.Join(dir, args[1])
		if out, err := exec.Command("ssh-keygen", append(args, "-q", "-f", file)...).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trust.LoadHostAuthority(text); err == nil {
			t.Errorf("%v was loaded", args)
		}
	}
	if _, err := trust.LoadHostAuthority([]byte("x")); err == nil {
		t.Error("nonsense was loaded")
	}
}
