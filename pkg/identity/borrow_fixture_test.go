package identity_test

import (
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/workload"
	"github.com/sluicegate/sluice/testenv/issuer"
)

const (
	runnerLabel = "ci.example/repository" // what a fleet's owner gives a repository's runners
	jobLabel    = "com.gitlab.gitlab-runner.job.id"
	uuidLabel   = "buildkite.com/job-uuid"
	jobID       = "0184990a-477b-4fa8-9968-496074483cee"
)

// ciSystem is an authority with a CI system's API.
type ciSystem struct {
	*authority
	*issuer.CI
	calls    atomic.Int64                     // of its API
	instead  atomic.Pointer[http.HandlerFunc] // answers in place of the API; nil: the API does
	borrower *identity.Borrower
}

// newCI returns a CI system, and a Borrower that asks it as one kind of provider.
func newCI(t testing.TB, kind string) *ciSystem {
	t.Helper()
	c := &ciSystem{authority: newAuthority(t)}
	var err error
	if c.CI, err = issuer.NewCI(c.Issuer, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	api := c.CI.Handler()
	documents := c.server.Config.Handler
	c.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/") || strings.HasPrefix(r.URL.Path, "/openid/") {
			documents.ServeHTTP(w, r)
			return
		}
		c.calls.Add(1)
		if instead := c.instead.Load(); instead != nil {
			(*instead)(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
	if c.borrower, err = identity.NewBorrower(t.Context(), []identity.Provider{c.provider(kind)}, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// provider is how a fleet's owner configures this CI system.
func (c *ciSystem) provider(kind string) identity.Provider {
	p := identity.Provider{Kind: kind, Issuer: c.URL(), CAFile: c.caFile, Audience: audience}
	switch kind {
	case "github":
		p.Hosts = []string{strings.TrimPrefix(c.URL(), "https://")}
		p.Bind = []identity.Binding{{Claim: "repository", To: "label:" + runnerLabel}}
	case "buildkite":
		p.Bind = []identity.Binding{{Claim: "job_id", To: "label:" + uuidLabel}}
	case "gitlab":
		p.Audience = ""
		p.Bind = []identity.Binding{{Claim: "job_id", To: "label:" + jobLabel}}
	case "environment":
		p.Variable = "CI_ID_TOKEN"
		p.Bind = []identity.Binding{{Claim: "repository", To: "label:" + runnerLabel}}
	}
	return p
}

// runner is a container that the fleet's owner labelled.
func runner(labels ...string) workload.Workload {
	w := workload.Workload{
		Assurance: workload.Orchestrated,
		Kernel:    workload.KernelFacts{Container: strings.Repeat("b", 64)},
		Orch:      workload.OrchFacts{Source: "docker", Labels: map[string]string{}},
	}
	for i := 0; i < len(labels); i += 2 {
		w.Orch.Labels[labels[i]] = labels[i+1]
	}
	return w
}

// shop is a container of a runner of acme/shop.
func shop() workload.Workload { return runner(runnerLabel, "acme/shop") }

// githubSays is what GitHub says of a job of a repository.
func githubSays(repository string) map[string]any {
	return map[string]any{
		"sub": "repo:" + repository + ":ref:refs/heads/main", "repository": repository, "run_id": "4711",
		"actor": "developer", "actor_id": "1001", "sha": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
	}
}

// start starts a job.
func (c *ciSystem) start(t testing.TB, says map[string]any) (credential string) {
	t.Helper()
	credential, err := c.Start(says)
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// env reads variables of an environment.
func env(pairs ...string) func(string) string {
	values := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return values[name] }
}

// github is the environment of a job that may ask for tokens.
func (c *ciSystem) github(credential string) func(string) string {
	return env("ACTIONS_ID_TOKEN_REQUEST_URL", c.RequestURL(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN", credential)
}

// with returns claims with one changed; nil takes it away.
func with(claims map[string]any, name string, value any) map[string]any {
	changed := maps.Clone(claims)
	changed[name] = value
	if value == nil {
		delete(changed, name)
	}
	return changed
}
