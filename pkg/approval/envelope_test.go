package approval

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"
)

func TestSignatureCountsForItsTypeOnly(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := key.Public().(ed25519.PublicKey)
	update := Update{Number: 1}
	sealed, err := seal(voteType, update, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := open(sealed, voteType, public, new(Update)); err != nil {
		t.Fatalf("as it was sealed: %v", err)
	}
	if err := open(sealed, rosterType, public, new(Update)); err == nil {
		t.Error("opened as another type")
	}
	renamed := bytes.Replace(sealed, []byte(voteType), []byte(rosterType), 1)
	if err := open(renamed, rosterType, public, new(Update)); !errors.Is(err, ErrSignature) {
		t.Errorf("with the type changed: %v, want %v", err, ErrSignature)
	}
}

func TestUnknownScopeDoesNotCountThoughItsOwnerSignedIt(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	text, err := FormatPublicKey(key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	roster := &Roster{Approvers: []Approver{{Name: "ann", Keys: []string{text}}}}
	now := time.Now().UTC().Round(0)
	vote := Vote{
		RequestHash: RequestHash(nil), Decision: Approve, Scope: "always", Approver: "ann",
		At: now, Expires: now.Add(time.Minute),
	}
	sealed, err := seal(voteType, vote, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := openVote(sealed, roster); !errors.Is(err, ErrScope) {
		t.Errorf("openVote: %v, want %v", err, ErrScope)
	}
}

func TestWhatIsSignedIsDSSE(t *testing.T) {
	// The example of DSSE's protocol.md.
	got := preAuth("http://example.com/HelloWorld", []byte("hello world"))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; string(got) != want {
		t.Errorf("preAuth = %q, want %q", got, want)
	}
}
