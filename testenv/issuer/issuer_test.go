package issuer_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sluicegate/sluice/testenv/issuer"
)

// TestSecondProcessMintsForTheFirst stands for the lab: one process serves the
// keys, another one mints with the same directory.
func TestSecondProcessMintsForTheFirst(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	serving, err := issuer.New(server.URL, dir)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = serving.Handler()
	minting, err := issuer.New(server.URL, dir)
	if err != nil {
		t.Fatal(err)
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	get(t, server.URL+"/.well-known/openid-configuration", &discovery)
	if discovery.Issuer != server.URL {
		t.Errorf("issuer %q, want %q", discovery.Issuer, server.URL)
	}
	var keys jose.JSONWebKeySet
	get(t, discovery.JWKSURI, &keys)
	for _, key := range keys.Keys {
		if !key.IsPublic() {
			t.Errorf("key %s is served with its private part", key.KeyID)
		}
	}
	for _, algorithm := range []string{issuer.RS256, issuer.ES256} {
		token, err := minting.MintWith(algorithm, map[string]any{"sub": "x", "aud": "sluice"})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
		if err != nil {
			t.Fatal(err)
		}
		var claims jwt.Claims
		if err := parsed.Claims(keys, &claims); err != nil || claims.Issuer != server.URL || claims.Subject != "x" {
			t.Errorf("%s: %+v, %v", algorithm, claims, err)
		}
	}
	if _, err := minting.MintWith("none", nil); err == nil {
		t.Error("minted without a signature")
	}
}

// get decodes the JSON at a URL.
func get(t *testing.T, url string, value any) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(value); err != nil {
		t.Fatal(err)
	}
}

func TestProjectedTokenIsSwappedWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	for _, token := range []string{"first", "second"} {
		if err := issuer.Project(dir, token); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "token"))
		if err != nil || string(got) != token {
			t.Errorf("token = %q, %v; want %q", got, err, token)
		}
	}
}
