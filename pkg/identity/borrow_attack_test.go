package identity_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/workload"
	"github.com/sluicegate/sluice/testenv/issuer"
)

// TestCredentialGoesToNamedHostsOnly is a job that writes where it wants to be
// asked about.
func TestCredentialGoesToNamedHostsOnly(t *testing.T) {
	c := newCI(t, "github")
	credential := c.start(t, githubSays("acme/shop"))
	var reached atomic.Int64
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	plain := httptest.NewServer(elsewhere.Config.Handler)
	defer plain.Close()
	host, path := strings.TrimPrefix(c.URL(), "https://"), "/_apis/pipelines/workflows/1/idtoken"
	for name, url := range map[string]string{
		"the metadata service":              "http://169.254.169.254/latest/idtoken?x=y",
		"the same with TLS":                 "https://169.254.169.254/idtoken?x=y",
		"the job's own server":              elsewhere.URL + path + "?x=y",
		"one without TLS":                   plain.URL + path + "?x=y",
		"the provider without TLS":          "http://" + host + path + "?x=y",
		"the provider's other port":         "https://127.0.0.1:1" + path + "?x=y",
		"a user's name before the host":     "https://" + host + "@" + strings.TrimPrefix(elsewhere.URL, "https://") + path,
		"a user's name":                     "https://user:pw@" + host + path,
		"a name that ends alike":            "https://evil" + host + path + "?x=y",
		"no host":                           "https://" + path,
		"a file":                            "file:///etc/idtoken",
		"opaque":                            "https:" + host + path,
		"another path":                      "https://" + host + "/acme/shop/raw/token.json",
		"a path that leads up":              "https://" + host + "/../x/../idtoken",
		"an escaped path":                   "https://" + host + "/x%2Fidtoken",
		"an audience of its own":            "https://" + host + path + "?audience=sluice",
		"a query that two read in two ways": "https://" + host + path + "?x=y;audience=sluice",
		"a fragment":                        "https://" + host + path + "?x=y#z",
		"endless":                           "https://" + host + path + "?x=" + strings.Repeat("y", 8<<10),
		"other letters":                     "https://" + strings.Replace(host, "1", "\u0661", 1) + path,
		"nonsense":                          "://\x00",
	} {
		t.Run(name, func(t *testing.T) {
			w := shop()
			w.Kernel.Container = name // each may ask
			_, level, err := c.borrower.Verify(t.Context(), w, env("ACTIONS_ID_TOKEN_REQUEST_URL", url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", credential))
			if level != workload.Unattributed || err == nil || !strings.HasSuffix(err.Error(), "whom the configuration does not name") {
				t.Errorf("%s: %v", level, err)
			}
		})
	}
	if n := reached.Load() + c.calls.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestHostsAreWholeLabels asks for names that are not there: the dialler tells
// which ones somebody would have been asked for.
func TestHostsAreWholeLabels(t *testing.T) {
	c := newCI(t, "github")
	p := c.provider("github")
	p.Hosts = []string{"actions.example"}
	for host, want := range map[string]bool{
		"actions.example": true, "run-1.actions.example": true, "a.b.actions.example": true, "actions.example:443": true,
		"evilactions.example": false, "actions.example.evil.example": false, "example": false, "actions.example:8443": false,
		"ACTIONS.example": false, "actions.example.": false, ".actions.example.evil.example": false,
	} {
		d := &dials{}
		b, err := identity.NewBorrower(t.Context(), []identity.Provider{p}, d.dial)
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = b.Verify(t.Context(), shop(), env("ACTIONS_ID_TOKEN_REQUEST_URL", "https://"+host+"/idtoken?x=y", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x"))
		if got := d.count.Load() > 0; got != want {
			t.Errorf("%s is dialled: %v", host, got)
		}
	}
}

// TestAnswerThatProvesNothingDoesNotCount is a provider, or whoever speaks for it
// under a host that is named, that answers with something else.
func TestAnswerThatProvesNothingDoesNotCount(t *testing.T) {
	c := newCI(t, "github")
	mint := func(of interface {
		Mint(map[string]any) (string, error)
	}, claims map[string]any,
	) string {
		token, err := of.Mint(claims)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	impostor, err := issuer.New(c.URL(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := issuer.New("https://evil.example", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	says := githubSays("acme/shop")
	genuine := mint(c, with(says, "aud", audience))
	for name, token := range map[string]func(audience string) string{
		"minted before, for us": func(string) string { return genuine },
		"for somebody else":     func(string) string { return mint(c, with(says, "aud", "sts.amazonaws.com")) },
		"for nobody":            func(string) string { return mint(c, says) },
		"expired": func(a string) string {
			return mint(c, with(with(says, "aud", a), "exp", time.Now().Add(-time.Second).Unix()))
		},
		"of another issuer": func(a string) string { return mint(foreign, with(says, "aud", a)) },
		"by another's key":  func(a string) string { return mint(impostor, with(says, "aud", a)) },
		"without a subject": func(a string) string { return mint(c, with(with(says, "aud", a), "sub", nil)) },
		"without signature": func(a string) string {
			return "eyJhbGciOiJub25lIn0." + strings.Split(mint(c, with(says, "aud", a)), ".")[1] + "."
		},
		"of another project": func(a string) string { return mint(c, with(with(says, "aud", a), "repository", "acme/payments")) },
		"with a repository that is no text": func(a string) string {
			return mint(c, with(with(says, "aud", a), "repository", []string{"acme/shop"}))
		},
		"nothing": func(string) string { return "" },
		"endless": func(string) string { return strings.Repeat("a", 48<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			c.answering(func(w http.ResponseWriter, r *http.Request) {
				_, _ = fmt.Fprintf(w, `{"value": %q}`, token(r.URL.Query().Get("audience")))
			})
			w := shop()
			w.Kernel.Container = name
			if claims, level, err := c.borrower.Verify(t.Context(), w, c.github("some job")); claims != nil || level != workload.Unattributed || err == nil {
				t.Errorf("%v at %s: %v", claims, level, err)
			}
		})
	}
}

func TestHostileAnswerIsBounded(t *testing.T) {
	c := newCI(t, "github")
	var reached atomic.Int64
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	endless := strings.Repeat("a", 1<<20)
	for name, handler := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/idtoken", http.StatusFound)
		},
		"a redirect to itself": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		},
		"a giant": func(w http.ResponseWriter, _ *http.Request) {
			for range 1 << 10 {
				if _, err := w.Write([]byte(endless)); err != nil {
					return
				}
			}
		},
		"a giant head": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", endless) },
		"a page":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"a list":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[1]")) },
		"two answers":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"value": "a"}{"value": "b"}`)) },
		"a refusal":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"a fault":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"half":         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			c.answering(handler)
			w := shop()
			w.Kernel.Container = name
			began := time.Now()
			_, level, err := c.borrower.Verify(t.Context(), w, c.github("some job"))
			if level != workload.Unattributed || err == nil || len(err.Error()) > 600 || strings.Contains(err.Error(), "some job") || strings.Contains(err.Error(), "idtoken") {
				t.Errorf("%s: %v", level, err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	if reached.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

// TestSlowProviderStallsNobody has a provider that answers after the patience:
// the first connection goes on without claims, others are not held up, and the
// answer is there for the next one.
func TestSlowProviderStallsNobody(t *testing.T) {
	c := newCI(t, "github")
	slow, quick := c.start(t, githubSays("acme/shop")), c.start(t, githubSays("acme/shop"))
	proceed := make(chan struct{})
	api := c.CI.Handler()
	c.answering(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Authorization"), slow) {
			<-proceed
		}
		api.ServeHTTP(w, r)
	})
	began := time.Now()
	if _, level, err := c.borrower.Verify(t.Context(), shop(), c.github(slow)); level != workload.Unattributed || !errors.Is(err, identity.ErrProviderAway) {
		t.Errorf("%s: %v", level, err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the connection waited for %s", took)
	}
	if _, level, err := c.borrower.Verify(t.Context(), shop(), c.github(quick)); level != workload.Minted {
		t.Errorf("another job's connection is %s: %v", level, err)
	}
	close(proceed)
	if _, level, err := c.borrower.Verify(t.Context(), shop(), c.github(slow)); level != workload.Minted {
		t.Errorf("the next connection is %s: %v", level, err)
	}
	if n := c.calls.Load(); n != 2 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// TestFloodOfCredentialsReachesNobody is a job that sets a new token for each of
// its processes.
func TestFloodOfCredentialsReachesNobody(t *testing.T) {
	c := newCI(t, "github")
	began := time.Now()
	refused := 0
	for i := range 10_000 {
		_, level, err := c.borrower.Verify(t.Context(), shop(), c.github(fmt.Sprintf("token %d", i)))
		if level != workload.Unattributed {
			t.Fatalf("%s: %v", level, err)
		}
		if errors.Is(err, identity.ErrTooMany) {
			refused++
		}
	}
	most := 16 + int64(time.Since(began)/(2*time.Second)) + 1
	if n := c.calls.Load(); n > most || refused < 9_900 {
		t.Errorf("the provider was asked %d times, want at most %d; %d were refused", n, most, refused)
	}
	other := shop()
	other.Kernel.Container = strings.Repeat("c", 64)
	if _, level, err := c.borrower.Verify(t.Context(), other, c.github(c.start(t, githubSays("acme/shop")))); level != workload.Minted {
		t.Errorf("another container's job is %s: %v", level, err)
	}
}
