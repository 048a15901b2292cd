package mysql

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"

	"filippo.io/edwards25519"
)

// Authentication plug-ins that the agent can answer.
const (
	pluginNative      = "mysql_native_password"
	pluginCachingSHA2 = "caching_sha2_password"
	pluginEd25519     = "client_ed25519"
	pluginClear       = "mysql_clear_password"
)

var (
	errPlugin   = errors.New("the server asks for an authentication that is not supported")
	errNeedsTLS = errors.New("the server asks for the password itself, which the agent sends over TLS only")
	errScramble = errors.New("the server's challenge is too short")
)

// prove answers a server's challenge.
func prove(plugin, password string, scramble []byte, tls bool) ([]byte, error) {
	switch plugin {
	case pluginNative:
		return nativeProof(password, scramble)
	case pluginCachingSHA2:
		return sha2Proof(password, scramble)
	case pluginEd25519:
		return ed25519Proof(password, scramble)
	case pluginClear:
		if !tls {
			return nil, errNeedsTLS
		}
		return append([]byte(password), 0), nil
	}
	return nil, errPlugin
}

// nativeProof is SHA1(password) xor SHA1(scramble, SHA1(SHA1(password))).
func nativeProof(password string, scramble []byte) ([]byte, error) {
	if len(scramble) < scrambleSize {
		return nil, errScramble
	}
	if password == "" {
		return nil, nil
	}
	first := sha1.Sum([]byte(password))
	second := sha1.Sum(first[:])
	mix := sha1.Sum(append(append([]byte(nil), scramble[:scrambleSize]...), second[:]...))
	subtle.XORBytes(mix[:], mix[:], first[:])
	return mix[:], nil
}

// sha2Proof is SHA256(password) xor SHA256(SHA256(SHA256(password)), scramble).
func sha2Proof(password string, scramble []byte) ([]byte, error) {
	if len(scramble) < scrambleSize {
		return nil, errScramble
	}
	if password == "" {
		return nil, nil
	}
	first := sha256.Sum256([]byte(password))
	second := sha256.Sum256(first[:])
	mix := sha256.Sum256(append(append([]byte(nil), second[:]...), scramble[:scrambleSize]...))
	subtle.XORBytes(mix[:], mix[:], first[:])
	return mix[:], nil
}

// challengeEd25519 is how much MariaDB has signed.
const challengeEd25519 = 32

// ed25519Proof signs the challenge as MariaDB does: by Ed25519 (RFC 8032) with
// the password, of any length, in the place of the private key.
func ed25519Proof(password string, challenge []byte) ([]byte, error) {
	if len(challenge) < challengeEd25519 {
		return nil, errScramble
	}
	challenge = challenge[:challengeEd25519]
	expanded := sha512.Sum512([]byte(password))
	secret, err := edwards25519.NewScalar().SetBytesWithClamping(expanded[:32])
	if err != nil {
		return nil, err
	}
	public := new(edwards25519.Point).ScalarBaseMult(secret).Bytes()
	nonce, err := hashScalar(expanded[32:], challenge)
	if err != nil {
		return nil, err
	}
	commitment := new(edwards25519.Point).ScalarBaseMult(nonce).Bytes()
	hashed, err := hashScalar(commitment, public, challenge)
	if err != nil {
		return nil, err
	}
	proof := edwards25519.NewScalar().MultiplyAdd(hashed, secret, nonce)
	return append(commitment, proof.Bytes()...), nil
}

func hashScalar(parts ...[]byte) (*edwards25519.Scalar, error) {
	h := sha512.New()
	for _, part := range parts {
		h.Write(part)
	}
	return edwards25519.NewScalar().SetUniformBytes(h.Sum(nil))
}
