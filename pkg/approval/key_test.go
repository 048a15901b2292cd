package approval_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/approval"
)

// sshKeygen makes a key pair with OpenSSH and returns both files.
func sshKeygen(t *testing.T, kind, passphrase string) (private []byte, public string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "ann at work", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	private, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return private, string(text)
}

func TestOpenSSHKeyMatchesItsPublicFile(t *testing.T) {
	private, public := sshKeygen(t, "ed25519", "")
	key, err := approval.LoadKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := approval.ParsePublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	if !want.Equal(key.Public()) {
		t.Error("the private file holds another key than the public one")
	}
	text, err := approval.FormatPublicKey(want)
	if err != nil || !strings.HasPrefix(public, text) {
		t.Errorf("FormatPublicKey = %q, %v; want the beginning of %q", text, err, public)
	}
}

func TestProtectedKeyNeedsItsPassphrase(t *testing.T) {
	private, _ := sshKeygen(t, "ed25519", "open sesame")
	if _, err := approval.LoadKey(private, nil); !errors.Is(err, approval.ErrPassphrase) {
		t.Errorf("nobody to ask: %v, want %v", err, approval.ErrPassphrase)
	}
	if _, err := approval.LoadKey(private, func() ([]byte, error) { return []byte("wrong"), nil }); err == nil {
		t.Error("the wrong passphrase opened it")
	}
	if _, err := approval.LoadKey(private, func() ([]byte, error) { return []byte("open sesame"), nil }); err != nil {
		t.Errorf("the right passphrase: %v", err)
	}
}

func TestPKCS8KeyIsRead(t *testing.T) {
	want := keyOf("ann")
	der, err := x509.MarshalPKCS8PrivateKey(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := approval.LoadKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	if err != nil || !got.Equal(want) {
		t.Errorf("LoadKey: %v", err)
	}
}

func TestOtherKindsOfKeyAreRefused(t *testing.T) {
	private, public := sshKeygen(t, "ecdsa", "")
	if _, err := approval.LoadKey(private, nil); err == nil {
		t.Error("an ECDSA private key was read")
	}
	if _, err := approval.ParsePublicKey(public); err == nil {
		t.Error("an ECDSA public key was read")
	}
	ed := publicText(t, keyOf("ann"))
	for _, text := range []string{"", "ssh-ed25519", `command="x" ` + ed, ed + "\n" + ed} {
		if _, err := approval.ParsePublicKey(text); err == nil {
			t.Errorf("ParsePublicKey(%q) was read", text)
		}
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := newPeople(t)
	if _, err := approval.SignVote(ballotFor(p.sign(t, request(1)), "ann", approval.Approve), ec); err == nil {
		t.Error("a vote was signed with an ECDSA key")
	}
}
