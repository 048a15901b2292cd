package approval

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// ErrPassphrase reports a key file that is encrypted when nobody can be asked
// for its passphrase.
var ErrPassphrase = errors.New("the key is protected by a passphrase")

// LoadKey reads an Ed25519 private key from the contents of a key file: what
// ssh-keygen -t ed25519 writes, or PKCS #8 in PEM. passphrase is asked at most
// once, and only for a key that is protected; nil means that nobody can be
// asked.
func LoadKey(file []byte, passphrase func() ([]byte, error)) (ed25519.PrivateKey, error) {
	parsed, err := ssh.ParseRawPrivateKey(file)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		if passphrase == nil {
			return nil, fmt.Errorf("load key: %w", ErrPassphrase)
		}
		var secret []byte
		if secret, err = passphrase(); err != nil {
			return nil, fmt.Errorf("load key: ask for the passphrase: %w", err)
		}
		parsed, err = ssh.ParseRawPrivateKeyWithPassphrase(file, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	switch key := parsed.(type) {
	case ed25519.PrivateKey:
		return key, nil
	case *ed25519.PrivateKey:
		return *key, nil
	}
	return nil, fmt.Errorf("load key: it is a %T: make one with ssh-keygen -t ed25519", parsed)
}

// ParsePublicKey reads "ssh-ed25519 AAAA… comment".
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	parsed, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	if len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("read public key: there must be one key and no options")
	}
	if wrapped, ok := parsed.(ssh.CryptoPublicKey); ok && parsed.Type() == ssh.KeyAlgoED25519 {
		if key, ok := wrapped.CryptoPublicKey().(ed25519.PublicKey); ok {
			return key, nil
		}
	}
	return nil, fmt.Errorf("read public key: it is of type %s: only ssh-ed25519 counts", parsed.Type())
}

// FormatPublicKey writes a key as ParsePublicKey reads it.
func FormatPublicKey(key ed25519.PublicKey) (string, error) {
	wrapped, err := ssh.NewPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("write public key: %w", err)
	}
	return string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(wrapped))), nil
}

// fingerprint names a key as ssh-keygen -l does.
func fingerprint(key ed25519.PublicKey) (string, error) {
	wrapped, err := ssh.NewPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("read public key: %w", err)
	}
	return ssh.FingerprintSHA256(wrapped), nil
}
