// Package issuer is a small OpenID Connect issuer for tests and the lab, of the
// shape that a Kubernetes API server has for service accounts: discovery, a key
// set, and tokens that are minted out of band and projected into files.
//
// The signatures, documents and files are real; there is no login and no
// client. Its keys lie in a directory, so that one process can serve them and
// another mint with them. It must never be used outside of tests.
package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The algorithms that an issuer has a key for.
const (
	RS256 = "RS256"
	ES256 = "ES256"
)

// lifetime of a token whose claims do not say otherwise.
const lifetime = time.Hour

// Issuer signs tokens.
type Issuer struct {
	url  string
	keys map[string]jose.JSONWebKey // private, by algorithm
}

// New returns the issuer of a URL with the keys of dir, and makes those that
// are not there yet.
func New(url, dir string) (*Issuer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open issuer: %w", err)
	}
	i := &Issuer{url: url, keys: make(map[string]jose.JSONWebKey)}
	for algorithm, generate := range map[string]func() (crypto.Signer, error){
		RS256: func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		ES256: func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
	} {
		key, err := loadKey(filepath.Join(dir, algorithm+".pem"), generate)
		if err != nil {
			return nil, fmt.Errorf("open issuer: %w", err)
		}
		if i.keys[algorithm], err = publishable(key, algorithm); err != nil {
			return nil, fmt.Errorf("open issuer: %w", err)
		}
	}
	return i, nil
}

// publishable gives a key the id under which it is published: its thumbprint
// (RFC 7638).
func publishable(key jose.JSONWebKey, algorithm string) (jose.JSONWebKey, error) {
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	key.Algorithm, key.Use = algorithm, "sig"
	return key, nil
}

// loadKey reads a PKCS #8 key, or generates and keeps one.
func loadKey(path string, generate func() (crypto.Signer, error)) (jose.JSONWebKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := generate()
		if err != nil {
			return jose.JSONWebKey{}, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return jose.JSONWebKey{}, err
		}
		return jose.JSONWebKey{Key: key}, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return jose.JSONWebKey{}, fmt.Errorf("%s holds no PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	return jose.JSONWebKey{Key: key}, err
}

// URL returns the issuer's name, which is also where Handler must be served.
func (i *Issuer) URL() string { return i.url }

// Mint signs claims with RS256, as Kubernetes does by default. It adds iss,
// iat, nbf and exp where they are missing.
func (i *Issuer) Mint(claims map[string]any) (string, error) { return i.MintWith(RS256, claims) }

// MintWith does what Mint does, with another algorithm.
func (i *Issuer) MintWith(algorithm string, claims map[string]any) (string, error) {
	key, found := i.keys[algorithm]
	if !found {
		return "", fmt.Errorf("mint token: no key for %q", algorithm)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: key}, nil)
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	now := time.Now()
	all := map[string]any{"iss": i.url, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix()}
	maps.Copy(all, claims)
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	return token, nil
}

// Handler serves the discovery document and the public keys.
func (i *Issuer) Handler() http.Handler {
	const keysPath = "/openid/v1/jwks" // where the Kubernetes API server has them
	var public jose.JSONWebKeySet
	for _, key := range i.keys {
		public.Keys = append(public.Keys, key.Public())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /.well-known/openid-configuration", document(map[string]any{
		"issuer":                                i.url,
		"jwks_uri":                              i.url + keysPath,
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{RS256, ES256},
	}))
	mux.Handle("GET "+keysPath, document(public))
	return mux
}

// document serves a value as JSON.
func document(value any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value) // an error means that the client has gone
	})
}
