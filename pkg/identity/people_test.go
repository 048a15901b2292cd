package identity_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/testenv/issuer"
)

func (a *authority) people(t testing.TB, groupsClaim string) *identity.People {
	t.Helper()
	p, err := identity.NewPeople(t.Context(), identity.PeopleConfig{Issuer: a.URL(), CAFile: a.caFile, Audience: audience, GroupsClaim: groupsClaim})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPersonIsWhatTheIssuerVouchesFor(t *testing.T) {
	a := newAuthority(t)
	tests := []struct {
		name, groupsClaim string
		claims            map[string]any
		want              identity.Person
	}{
		{
			"everything", "",
			map[string]any{"name": "Ann", "email": "ann@example.com", "email_verified": true, "groups": []string{"dba", "dev"}},
			identity.Person{Name: "Ann", Email: "ann@example.com", Groups: []string{"dba", "dev"}},
		},
		{"unverified address", "", map[string]any{"email": "root@example.com", "email_verified": false}, identity.Person{}},
		{"address that nobody speaks of", "", map[string]any{"email": "root@example.com"}, identity.Person{}},
		{
			"groups elsewhere", "realm_access/roles",
			map[string]any{"groups": []string{"admin"}, "realm_access": map[string]any{"roles": []string{"viewer"}}},
			identity.Person{Groups: []string{"viewer"}},
		},
		{"one group", "", map[string]any{"groups": "dba"}, identity.Person{Groups: []string{"dba"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			claims := map[string]any{"sub": "ann", "aud": audience}
			maps.Copy(claims, test.claims)
			token, err := a.Mint(claims)
			if err != nil {
				t.Fatal(err)
			}
			got, err := a.people(t, test.groupsClaim).Person(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			test.want.Issuer, test.want.Subject = a.URL(), "ann"
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("person (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTokenThatIsNotForUsIsNobody(t *testing.T) {
	a := newAuthority(t)
	for name, change := range map[string]map[string]any{
		"foreign audience": {"aud": "somebody-else"},
		"expired":          {"exp": time.Now().Add(-time.Second).Unix()},
		"foreign issuer":   {"iss": "https://evil.example"},
		"odd groups":       {"groups": []any{1, 2}},
		"groups as object": {"groups": map[string]any{"admin": true}},
	} {
		claims := map[string]any{"sub": "ann", "aud": audience}
		maps.Copy(claims, change)
		token, err := a.Mint(claims)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.people(t, "").Person(t.Context(), token); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, token := range []string{"", "a.b.c", strings.Repeat("x", 1<<20)} {
		if got, err := a.people(t, "").Person(t.Context(), token); err == nil {
			t.Errorf("%d bytes of no token: %+v", len(token), got)
		}
	}
}

func TestIssuerThatRedirectsOrDowngradesIsRefused(t *testing.T) {
	var endless atomic.Int64 // bytes written
	for name, answer := range map[string]func(*issuer.Issuer) http.Handler{
		"redirect to what would be right": func(i *issuer.Issuer) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/elsewhere/", http.StripPrefix("/elsewhere", i.Handler()))
			mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/elsewhere"+r.URL.Path, http.StatusFound)
			})
			return mux
		},
		"keys over plain HTTP": func(i *issuer.Issuer) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"issuer":"` + i.URL() + `","jwks_uri":"http://keys.example/jwks"}`))
			})
		},
		"endless answer": func(*issuer.Issuer) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for err := error(nil); err == nil; endless.Add(1 << 16) {
					_, err = w.Write(make([]byte, 1<<16))
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(nil) // on loopback, where plain HTTP is allowed
			t.Cleanup(server.Close)
			i, err := issuer.New(server.URL, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			server.Config.Handler = answer(i)
			p, err := identity.NewPeople(t.Context(), identity.PeopleConfig{Issuer: server.URL, Audience: audience})
			if err != nil {
				t.Fatal(err)
			}
			token, err := i.Mint(map[string]any{"sub": "ann", "aud": audience})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Person(t.Context(), token); err == nil || len(err.Error()) > 500 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if n := endless.Load(); n > 64<<20 { // what the socket's buffers hold is less
		t.Errorf("%d bytes of an endless answer were read", n)
	}
}

func FuzzPerson(f *testing.F) {
	a := newAuthority(f)
	p := a.people(f, "")
	token, err := a.Mint(map[string]any{"iss": "https://evil.example", "sub": "ann", "aud": audience})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if got, err := p.Person(t.Context(), token); err == nil {
			t.Errorf("%q is %+v", token, got)
		}
	})
}
