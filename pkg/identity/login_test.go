package identity_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/testenv/issuer"
)

// provider is zitadel/oidc's, served on loopback, with ada of dba.
func provider(t *testing.T, redirects ...string) (*identity.People, *issuer.Provider) {
	t.Helper()
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	i, err := issuer.New(server.URL, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := issuer.NewProvider(i, audience, redirects, []issuer.Person{{Name: "ada", Groups: []string{"dba"}}})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = p
	people, err := identity.NewPeople(t.Context(), identity.PeopleConfig{Issuer: server.URL, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	return people, p
}

// browse does what a person with a browser does: open, say a name, be sent
// back. It returns the address that the issuer sends to.
func browse(t *testing.T, address, name string) *url.URL {
	t.Helper()
	back, err := visit(address, name)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// visit is browse where no test can be ended.
func visit(address, name string) (*url.URL, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	var back *url.URL
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/callback") && r.URL.Query().Get("state") != "" {
			back = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	page, err := client.Get(address)
	if err != nil {
		return nil, err
	}
	page.Body.Close()
	at := page.Request.URL
	id := at.Query().Get("authRequestID")
	if id == "" {
		id = at.Query().Get("user_code")
	}
	answer, err := client.PostForm(at.String(), url.Values{"id": {id}, "name": {name}})
	if err != nil {
		return nil, err
	}
	answer.Body.Close()
	return back, nil
}

const redirect = "http://127.0.0.1:1/login/callback"

func TestPersonLogsInWithCodeAndPKCE(t *testing.T) {
	people, p := provider(t, redirect)
	begun, address, err := people.BeginLogin(t.Context(), redirect, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"code_challenge=", "code_challenge_method=S256", "prompt=login", "max_age=0", "nonce="} {
		if !strings.Contains(address, part) {
			t.Errorf("no %s in %s", part, address)
		}
	}
	back := browse(t, address, "ada")
	proof, err := people.FinishLogin(t.Context(), redirect, begun, back.Query())
	if err != nil {
		t.Fatal(err)
	}
	if proof.Subject != "ada" || len(proof.Groups) != 1 || proof.Groups[0] != "dba" || time.Since(proof.At) > time.Minute {
		t.Errorf("proof %+v", proof)
	}
	if again, err := people.Person(t.Context(), proof.Token); err != nil || again.Subject != "ada" {
		t.Errorf("the token as a bearer's: %+v, %v", again, err)
	}
	p.Backdate.Store(int64(time.Hour))
	begun, address, _ = people.BeginLogin(t.Context(), redirect, true)
	proof, err = people.FinishLogin(t.Context(), redirect, begun, browse(t, address, "ada").Query())
	if err != nil || time.Since(proof.At) < 50*time.Minute {
		t.Errorf("an issuer that did not ask again: proven at %v, %v", proof.At, err)
	}
}

func TestLoginThatIsNotThisBrowsersIsRefused(t *testing.T) {
	people, _ := provider(t, redirect)
	begun, address, err := people.BeginLogin(t.Context(), redirect, false)
	if err != nil {
		t.Fatal(err)
	}
	answer := browse(t, address, "ada").Query()
	other, _, _ := people.BeginLogin(t.Context(), redirect, false)
	with := func(change func(*identity.Pending)) identity.Pending {
		changed := begun
		change(&changed)
		return changed
	}
	for name, c := range map[string]struct {
		begun  identity.Pending
		answer url.Values
	}{
		"another browser's":  {other, answer},
		"none begun":         {identity.Pending{}, url.Values{"code": answer["code"]}},
		"another state":      {begun, url.Values{"code": answer["code"], "state": {"x"}}},
		"the issuer refuses": {begun, url.Values{"error": {"access_denied"}, "state": answer["state"]}},
		"another verifier":   {with(func(p *identity.Pending) { p.Verifier = other.Verifier }), answer},
	} {
		if _, err := people.FinishLogin(t.Context(), redirect, c.begun, c.answer); !errors.Is(err, identity.ErrLogin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The verifier was wrong once, so the issuer has burnt that code.
	begun, address, _ = people.BeginLogin(t.Context(), redirect, false)
	answer = browse(t, address, "ada").Query()
	if _, err := people.FinishLogin(t.Context(), redirect, with(func(p *identity.Pending) {
		*p = begun
		p.Nonce = "x"
	}), answer); !errors.Is(err, identity.ErrLogin) {
		t.Errorf("another nonce: %v", err)
	}
	if _, err := people.FinishLogin(t.Context(), redirect, begun, answer); !errors.Is(err, identity.ErrLogin) {
		t.Errorf("a code that was used: %v", err)
	}
}

func TestPersonLogsInFromATerminal(t *testing.T) {
	people, _ := provider(t, "http://127.0.0.1/callback")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	proof, err := people.LoginInBrowser(ctx, func(address string) error {
		go func() {
			back, err := visit(address, "ada")
			if err != nil {
				return // nobody comes back, and the login ends with its time
			}
			if answer, err := http.Get(back.String()); err == nil {
				answer.Body.Close()
			}
		}()
		return nil
	})
	if err != nil || proof.Subject != "ada" || proof.Token == "" {
		t.Errorf("in a browser: %+v, %v", proof.Person, err)
	}
	proof, err = people.LoginByDevice(ctx, func(address, code string) {
		if code == "" {
			t.Error("no code to type")
		}
		go func() { _, _ = visit(address, "ada") }()
	})
	if err != nil || proof.Subject != "ada" || proof.Token == "" {
		t.Errorf("by device: %+v, %v", proof.Person, err)
	}
}
