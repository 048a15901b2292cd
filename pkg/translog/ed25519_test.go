package translog_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/sluicegate/sluice/pkg/translog"
)

func TestNoteKeysHoldOneEd25519Pair(t *testing.T) {
	for range 50 { // base64 with and without a plus sign
		skey, vkey, err := translog.GenerateKey("test/node")
		if err != nil {
			t.Fatal(err)
		}
		private, err := translog.PrivateKey(skey + "\n")
		if err != nil {
			t.Fatal(err)
		}
		public, err := translog.PublicKey(vkey + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if !public.Equal(private.Public()) {
			t.Fatalf("%s and its private key do not belong together", vkey)
		}
		if !ed25519.Verify(public, []byte("m"), ed25519.Sign(private, []byte("m"))) {
			t.Fatal("the pair does not sign")
		}
	}
}

func TestOtherTextIsNoNoteKey(t *testing.T) {
	for _, text := range []string{"", "test/node", "test/node+00000000+AQ==", "PRIVATE+KEY+"} {
		if _, err := translog.PublicKey(text); err == nil {
			t.Errorf("%q is taken for a public key", text)
		}
		if _, err := translog.PrivateKey(text); err == nil {
			t.Errorf("%q is taken for a private key", text)
		}
	}
}
