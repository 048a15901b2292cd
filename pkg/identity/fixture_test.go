package identity_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/workload"
	"github.com/sluicegate/sluice/testenv/issuer"
)

const audience = "sluice"

// authority is an issuer that is served over TLS, and the directory below
// which it projects tokens.
type authority struct {
	*issuer.Issuer
	server *httptest.Server
	caFile string
	tokens string
	asked  atomic.Int64 // requests that it answered
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{server: httptest.NewUnstartedServer(nil), tokens: t.TempDir()}
	a.server.StartTLS()
	t.Cleanup(a.server.Close)
	var err error
	if a.Issuer, err = issuer.New(a.server.URL, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	documents := a.Handler()
	a.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		documents.ServeHTTP(w, r)
	})
	a.caFile = filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw})
	if err := os.WriteFile(a.caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// config is that of a fleet whose tokens are projected per pod.
func (a *authority) config() identity.Issuer {
	return identity.Issuer{
		URL: a.URL(), CAFile: a.caFile, Audience: audience,
		TokenFile: filepath.Join(a.tokens, "{pod_uid}", "token"),
		Bind:      []identity.Binding{{Claim: "kubernetes.io/pod/uid", To: "pod_uid"}},
	}
}

func (a *authority) workloads(t testing.TB) *identity.Workloads {
	t.Helper()
	w, err := identity.NewWorkloads(t.Context(), []identity.Issuer{a.config()}, openToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

const podUID = "2f1d4b6e-0c1a-4a57-9a3c-5d8e7f901234"

func pod() workload.Workload {
	return workload.Workload{
		Assurance: workload.Kernel,
		Kernel:    workload.KernelFacts{Container: strings.Repeat("a", 64)},
		Orch:      workload.OrchFacts{Source: "cgroup", Pod: podUID},
	}
}

// claimsFor are what a Kubernetes service-account token says.
func claimsFor(uid string) map[string]any {
	return map[string]any{
		"sub": "system:serviceaccount:ci:runner",
		"aud": []string{audience},
		"kubernetes.io": map[string]any{
			"namespace": "ci",
			"pod":       map[string]any{"name": "runner-1", "uid": uid},
		},
	}
}

// project mints claims and projects the token as that of podUID.
func (a *authority) project(t testing.TB, claims map[string]any) {
	t.Helper()
	token, err := a.Mint(claims)
	if err != nil {
		t.Fatal(err)
	}
	a.projectRaw(t, token)
}

func (a *authority) projectRaw(t testing.TB, token string) {
	t.Helper()
	if err := issuer.Project(filepath.Join(a.tokens, podUID), token); err != nil {
		t.Fatal(err)
	}
}

// openToken opens token files without anybody in between.
func openToken(_ context.Context, path string) (*os.File, error) { return identity.OpenToken(path) }
