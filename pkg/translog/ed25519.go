package translog

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
)

// algEd25519 is the first byte of an Ed25519 key in the text form of
// x/mod/sumdb/note.
const algEd25519 = 1

// PublicKey returns the Ed25519 key inside a verifier key. An agent signs its
// approval requests with the key of its batch notes, in another envelope that
// no note can be taken for.
func PublicKey(vkey string) (ed25519.PublicKey, error) {
	if _, err := NewVerifier(vkey); err != nil { // checks the name and the key's hash
		return nil, err
	}
	key, err := keyBytes(vkey, ed25519.PublicKeySize)
	return ed25519.PublicKey(key), err
}

// PrivateKey returns the Ed25519 key inside a signer key.
func PrivateKey(skey string) (ed25519.PrivateKey, error) {
	if _, err := NewSigner(skey); err != nil {
		return nil, err
	}
	seed, err := keyBytes(skey, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// keyBytes returns what follows the algorithm in the last part of a key's
// text. Base64 may itself hold a plus sign, so the parts before are counted
// from the front: a name has none.
func keyBytes(text string, size int) ([]byte, error) {
	text = strings.TrimPrefix(strings.TrimSpace(text), "PRIVATE+KEY+")
	parts := strings.SplitN(text, "+", 3)
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+size || raw[0] != algEd25519 {
		return nil, errors.New("read note key: not an Ed25519 key")
	}
	return raw[1:], nil
}
