package approval_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
)

func FuzzDecodeUpdate(f *testing.F) {
	for _, seed := range []string{`{"number":1}`, `{"vote":"AA=="}`, `{"number":1,"vote":"AA=="}`, `{}`, `{"Number":1}`, `{"number":1}{}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		update, err := approval.DecodeUpdate(message)
		if err != nil {
			return
		}
		again, err := approval.EncodeUpdate(update)
		if err != nil || !bytes.Equal(again, message) {
			t.Errorf("decoded %q, encoded %q, %v", message, again, err)
		}
	})
}

// FuzzOpen gives the same hostile bytes to every decoder. None may accept
// anything but the genuine article, byte for byte.
func FuzzOpen(f *testing.F) {
	// Fuzzing runs in several processes, which must all make the same bytes.
	p := newPeople(f)
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	p.roster.NotAfter = now.Add(time.Hour)
	asked := request(1)
	asked.ID, asked.Created, asked.NotAfter = "00112233445566778899aabbccddeeff", now, now.Add(time.Minute)
	signedRequest, err := approval.SignRequest(asked, p.agent)
	if err != nil {
		f.Fatal(err)
	}
	yes := ballotFor(signedRequest, "ann", approval.Approve)
	yes.At, yes.Expires = now, now.Add(time.Minute)
	signedVote, err := approval.SignVote(yes, p.keys["ann"])
	if err != nil {
		f.Fatal(err)
	}
	signedRoster, err := approval.SignRoster(p.roster, p.root)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{signedRequest, signedVote, signedRoster} {
		f.Add(seed)
		f.Add(seed[:len(seed)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := approval.OpenRequest(data, p.agentKey()); err == nil && !bytes.Equal(data, signedRequest) {
			t.Errorf("opened a request that nobody signed: %q", data)
		}
		if _, err := approval.OpenRoster(data, p.root.Public().(ed25519.PublicKey), 0); err == nil && !bytes.Equal(data, signedRoster) {
			t.Errorf("opened a roster that nobody signed: %q", data)
		}
		if _, err := approval.Check(signedRequest, data, p.agentKey(), &p.roster, now); err == nil && !bytes.Equal(data, signedVote) {
			t.Errorf("counted a vote that nobody cast: %q", data)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKq0 comment"))
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := approval.ParsePublicKey(string(data)); err == nil && len(key) != ed25519.PublicKeySize {
			t.Errorf("a public key of %d bytes", len(key))
		}
		if key, err := approval.LoadKey(data, nil); err == nil && len(key) != ed25519.PrivateKeySize {
			t.Errorf("a private key of %d bytes", len(key))
		}
	})
}
