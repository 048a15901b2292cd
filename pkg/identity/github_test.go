package identity

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

// FuzzRequestURL takes whatever a job writes: what is asked for is at a named host,
// under TLS, and for our audience alone.
func FuzzRequestURL(f *testing.F) {
	for _, written := range []string{
		"https://run-1.actions.example/_apis/pipelines/workflows/1/idtoken?api-version=2.0", "https://forge.example:3000/x/idtoken",
		"https://actions.example@evil.example/idtoken", "https://actions.example/idtoken?audience=x&a=b#c", "https://[::1]/idtoken", "//actions.example/idtoken",
		"https://actions.example:443/a/../idtoken?;", "https://actions.example\\@evil.example/idtoken", "https://actions.example%2eevil.example/idtoken",
	} {
		f.Add(written)
	}
	p := Provider{Hosts: []string{"actions.example", "forge.example:3000"}}
	f.Fuzz(func(t *testing.T, written string) {
		made, err := p.requestURL(written, "sluice:nonce")
		if err != nil {
			return
		}
		to, err := url.Parse(made)
		if err != nil || to.Scheme != "https" || to.User != nil || path.Base(to.Path) != "idtoken" {
			t.Fatalf("%q became %q: %v", written, made, err)
		}
		at, inside := to.Host, strings.HasSuffix(to.Host, ".actions.example") || strings.HasSuffix(to.Host, ".actions.example:443")
		if at != "actions.example" && at != "actions.example:443" && !inside && !strings.HasSuffix("."+at, ".forge.example:3000") {
			t.Errorf("%q leads to %q", written, at)
		}
		if audience := to.Query()["audience"]; len(audience) != 1 || audience[0] != "sluice:nonce" {
			t.Errorf("%q asks for %q", written, audience)
		}
	})
}
