package identity_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/workload"
	"github.com/sluicegate/sluice/testenv/issuer"
)

func TestTokenOfThePodVerifiesIt(t *testing.T) {
	a := newAuthority(t)
	a.project(t, claimsFor(podUID))
	claims, bound, err := a.workloads(t).Verify(t.Context(), pod())
	if err != nil || !bound {
		t.Fatalf("Verify: %v, %v", bound, err)
	}
	if claims["sub"] != "system:serviceaccount:ci:runner" || claims["iss"] != a.URL() {
		t.Errorf("claims: %v", claims)
	}
}

func TestRotatedTokenIsRead(t *testing.T) {
	a := newAuthority(t)
	expired := claimsFor(podUID)
	expired["exp"] = time.Now().Add(-time.Minute).Unix()
	a.project(t, expired)
	w := a.workloads(t)
	if _, bound, _ := w.Verify(t.Context(), pod()); bound {
		t.Fatal("an expired token counts")
	}
	a.project(t, claimsFor(podUID))
	if _, bound, err := w.Verify(t.Context(), pod()); !bound {
		t.Errorf("the rotated token: %v", err)
	}
}

func TestTokenThatProvesNothingDoesNotCount(t *testing.T) {
	with := func(change func(map[string]any)) map[string]any {
		claims := claimsFor(podUID)
		change(claims)
		return claims
	}
	tests := []struct {
		name   string
		claims map[string]any
		want   string
	}{
		{"of another pod", claimsFor("00000000-0000-4000-8000-000000000000"), "not bound"},
		{"without a pod", with(func(c map[string]any) { delete(c, "kubernetes.io") }), "not bound"},
		{"with a pod uid that is no text", with(func(c map[string]any) {
			c["kubernetes.io"] = map[string]any{"pod": map[string]any{"uid": []string{podUID}}}
		}), "not bound"},
		{"expired", with(func(c map[string]any) { c["exp"] = time.Now().Add(-time.Second).Unix() }), "expired"},
		{"not valid yet", with(func(c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() }), "nbf"},
		{"for another audience", with(func(c map[string]any) { c["aud"] = "https://kubernetes.default.svc" }), "audience"},
		{"of another issuer", with(func(c map[string]any) { c["iss"] = "https://evil.example" }), "provider"},
		{"without a subject", with(func(c map[string]any) { delete(c, "sub") }), "subject"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAuthority(t)
			a.project(t, test.claims)
			claims, bound, err := a.workloads(t).Verify(t.Context(), pod())
			if bound || claims != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Verify = %v, %v, %v; want an error that says %q", claims, bound, err, test.want)
			}
		})
	}
}

func TestForgedTokenDoesNotCount(t *testing.T) {
	a := newAuthority(t)
	impostor, err := issuer.New(a.URL(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	forged, err := impostor.Mint(claimsFor(podUID))
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := a.Mint(claimsFor(podUID))
	if err != nil {
		t.Fatal(err)
	}
	other, err := a.Mint(claimsFor("11111111-0000-4000-8000-000000000000"))
	if err != nil {
		t.Fatal(err)
	}
	parts, otherParts := strings.Split(genuine, "."), strings.Split(other, ".")
	for name, token := range map[string]string{
		"signed by a key of somebody else": forged,
		"no signature":                     "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"signature of another token":       otherParts[0] + "." + parts[1] + "." + otherParts[2],
		"not a token":                      "hunter2",
		"empty":                            "",
		"too long":                         strings.Repeat("a", 1<<20),
	} {
		a.projectRaw(t, token)
		if _, bound, err := a.workloads(t).Verify(t.Context(), pod()); bound || err == nil {
			t.Errorf("%s: bound %v, %v", name, bound, err)
		} else if len(token) > 8 && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
}

func TestAlgorithmThatIsNotConfiguredDoesNotCount(t *testing.T) {
	a := newAuthority(t)
	token, err := a.MintWith(issuer.ES256, claimsFor(podUID))
	if err != nil {
		t.Fatal(err)
	}
	a.projectRaw(t, token)
	cfg := a.config()
	cfg.Algorithms = []string{"RS256"}
	w, err := identity.NewWorkloads(t.Context(), []identity.Issuer{cfg}, openToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, bound, err := w.Verify(t.Context(), pod()); bound || err == nil {
		t.Errorf("ES256 where RS256 is configured: bound %v, %v", bound, err)
	}
	if _, bound, err := a.workloads(t).Verify(t.Context(), pod()); !bound {
		t.Errorf("ES256 by default: %v", err)
	}
}

func TestNodeRootIsNeverVerified(t *testing.T) {
	a := newAuthority(t)
	a.project(t, claimsFor(podUID))
	for _, taint := range []string{workload.TaintPrivileged, workload.TaintBeside, workload.TaintHostPID, workload.TaintRuntimeSocket, workload.TaintHostPath, workload.TaintCapability} {
		w := pod()
		w.Orch.Taints = []string{"nested", taint}
		if _, bound, err := a.workloads(t).Verify(t.Context(), w); bound || !errors.Is(err, identity.ErrNodeRoot) {
			t.Errorf("%s: bound %v, %v", taint, bound, err)
		}
	}
}

func TestWorkloadWithoutPodOrTokenHasNone(t *testing.T) {
	a := newAuthority(t)
	for name, uid := range map[string]string{
		"no pod": "", "no token": podUID, "a path": "../../etc", "upper case": strings.ToUpper(podUID),
	} {
		w := pod()
		w.Orch.Pod = uid
		if _, bound, err := a.workloads(t).Verify(t.Context(), w); bound || !errors.Is(err, identity.ErrNoToken) {
			t.Errorf("%s: bound %v, %v", name, bound, err)
		}
	}
	if n := a.asked.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times for nothing", n)
	}
}

// TestWithoutIssuersNothingIsMissing would else be a warning for each session.
func TestWithoutIssuersNothingIsMissing(t *testing.T) {
	none, err := identity.NewWorkloads(t.Context(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if claims, bound, err := none.Verify(t.Context(), pod()); bound || err != nil || claims != nil {
		t.Errorf("claims %v, bound %v, %v", claims, bound, err)
	}
}

func TestFactThatIsAPathIsNotFollowed(t *testing.T) {
	a := newAuthority(t)
	a.project(t, claimsFor(podUID))
	w := pod()
	w.Orch.Pod = "elsewhere/../" + podUID
	if _, bound, err := a.workloads(t).Verify(t.Context(), w); bound || !errors.Is(err, identity.ErrNoToken) {
		t.Errorf("bound %v, %v", bound, err)
	}
}

func TestTokenFileIsReadWithCare(t *testing.T) {
	a := newAuthority(t)
	token, err := a.Mint(claimsFor(podUID))
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(outside, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(path string) error{
		"link out of the directory": func(path string) error { return os.Symlink(outside, path) },
		"pipe":                      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":                 func(path string) error { return os.Mkdir(path, 0o700) },
		"writable by all": func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(token), 0o600), os.Chmod(path, 0o666))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(a.tokens, podUID)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "token")
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(path)
			if _, bound, err := a.workloads(t).Verify(t.Context(), pod()); bound || err == nil {
				t.Errorf("bound %v, %v", bound, err)
			}
		})
	}
}

func TestIssuerThatGoesAwayLeavesKnownKeysCounting(t *testing.T) {
	a := newAuthority(t)
	a.project(t, claimsFor(podUID))
	w := a.workloads(t)
	for range 3 {
		if _, bound, err := w.Verify(t.Context(), pod()); !bound {
			t.Fatal(err)
		}
	}
	if n := a.asked.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times, want once for each document", n)
	}
	a.server.Close()
	if _, bound, err := w.Verify(t.Context(), pod()); !bound {
		t.Errorf("after the issuer went away: %v", err)
	}
}

func TestIssuerThatNeverAnswersCostsASecondOnce(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	a := newAuthority(t)
	a.project(t, claimsFor(podUID))
	cfg := a.config()
	cfg.URL = "https://" + silent.Addr().String()
	w, err := identity.NewWorkloads(t.Context(), []identity.Issuer{cfg}, openToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	for attempt, limit := range []time.Duration{5 * time.Second, 500 * time.Millisecond} {
		began := time.Now()
		_, bound, err := w.Verify(t.Context(), pod())
		if bound || !errors.Is(err, identity.ErrIssuerAway) {
			t.Errorf("attempt %d: bound %v, %v", attempt, bound, err)
		}
		if took := time.Since(began); took > limit {
			t.Errorf("attempt %d took %s, want at most %s", attempt, took, limit)
		}
	}
}

func TestSecondIssuerIsTried(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	second.project(t, claimsFor(podUID))
	w, err := identity.NewWorkloads(t.Context(), []identity.Issuer{first.config(), second.config()}, openToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	if claims, bound, err := w.Verify(t.Context(), pod()); !bound || claims["iss"] != second.URL() {
		t.Errorf("Verify = %v, %v, %v", claims, bound, err)
	}
}

func TestWrongConfigurationIsNamed(t *testing.T) {
	a := newAuthority(t)
	for want, change := range map[string]func(*identity.Issuer){
		"https://":      func(i *identity.Issuer) { i.URL = "http://issuer.example" },
		"not a URL":     func(i *identity.Issuer) { i.URL = "issuer" },
		"audience":      func(i *identity.Issuer) { i.Audience = "" },
		"HS256":         func(i *identity.Issuer) { i.Algorithms = []string{"HS256"} },
		"none":          func(i *identity.Issuer) { i.Algorithms = []string{"none"} },
		"ca_file":       func(i *identity.Issuer) { i.CAFile = filepath.Join(a.tokens, "absent") },
		"absolute":      func(i *identity.Issuer) { i.TokenFile = "tokens/{pod_uid}" },
		"{container}":   func(i *identity.Issuer) { i.TokenFile = "/tokens/{container}" },
		"bind":          func(i *identity.Issuer) { i.Bind = nil },
		"container_id,": func(i *identity.Issuer) { i.Bind = []identity.Binding{{Claim: "sub", To: "image"}} },
	} {
		cfg := a.config()
		change(&cfg)
		if _, err := identity.NewWorkloads(t.Context(), []identity.Issuer{cfg}, openToken, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error that says %q", err, want)
		}
	}
}

func TestOnlyWhatATemplateStandsForIsATokensPath(t *testing.T) {
	const template = "/run/tokens/{container_id}/pod{pod_uid}/token"
	for path, want := range map[string]bool{
		"/run/tokens/0a1b/pod11-22-ff/token":           true,
		"/run/tokens/0a1b/podff/token":                 true,
		"/run/tokens/../pod11/token":                   false,
		"/run/tokens/0a1b/../pod11/token":              false,
		"/run/tokens//pod11/token":                     false,
		"/run/tokens/0a1b/pod11/token/../../../shadow": false,
		"/run/tokens/0a1b/pod11/token\n":               false,
		"/run/tokens/0A1B/pod11/token":                 false,
		"/run/tokensX0a1b/pod11/token":                 false,
		"":                                             false,
	} {
		if got := identity.TokenPath(template, path); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}
