package identity_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/workload"
)

// gitlabSays is GitLab's own example of GET /job, with a running job of acme/shop.
func gitlabSays(t testing.TB, url string) (says map[string]any) {
	t.Helper()
	text := fmt.Sprintf(`{"commit": {"id": "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd"}, "id": 8, "name": "rubocop",
		"pipeline": {"id": 6, "project_id": 1, "ref": "main", "sha": "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd", "status": "running"},
		"ref": "main", "runner": {"id": 32}, "status": "running", "tag": false, "web_url": "%s/acme/shop/-/jobs/8",
		"user": {"id": 1, "name": "Administrator", "username": "root", "bio": "private"}, "project": {"ci_job_token_scope_enabled": false}}`, url)
	if err := json.Unmarshal([]byte(text), &says); err != nil {
		t.Fatal(err)
	}
	return says
}

func buildkiteSays() map[string]any {
	return map[string]any{
		"sub": "organization:acme:pipeline:shop:ref:refs/heads/main:commit:9f31:step:build", "job_id": jobID,
		"organization_slug": "acme", "pipeline_slug": "shop", "build_number": 7, "build_commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
	}
}

func TestProviderVouchesForTheContainersJob(t *testing.T) {
	for kind, test := range map[string]struct {
		container workload.Workload
		env       func(c *ciSystem) func(string) string
		level     workload.Assurance
		run       string
		commit    string
	}{
		"github": {
			shop(),
			func(c *ciSystem) func(string) string { return c.github(c.start(t, githubSays("acme/shop"))) },
			workload.Minted, "acme/shop/4711", "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
		},
		"buildkite": {
			runner(uuidLabel, jobID),
			func(c *ciSystem) func(string) string {
				return env("BUILDKITE_JOB_ID", jobID, "BUILDKITE_AGENT_ACCESS_TOKEN", c.start(t, buildkiteSays()))
			},
			workload.Minted, "shop/build-1", "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
		},
		"gitlab": {
			runner(jobLabel, "8"),
			func(c *ciSystem) func(string) string { return env("CI_JOB_TOKEN", c.start(t, gitlabSays(t, c.URL()))) },
			workload.Verified, "acme/shop/6", "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd",
		},
		"environment": {
			shop(),
			func(c *ciSystem) func(string) string {
				token, err := c.Mint(with(githubSays("acme/shop"), "aud", audience))
				if err != nil {
					t.Fatal(err)
				}
				return env("CI_ID_TOKEN", token)
			},
			workload.Verified, "acme/shop/4711", "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
		},
	} {
		t.Run(kind, func(t *testing.T) {
			c := newCI(t, kind)
			claims, level, err := c.borrower.Verify(t.Context(), test.container, test.env(c))
			if err != nil || level != test.level {
				t.Fatalf("%s: %v", level, err)
			}
			w := workload.Workload{Assurance: level, Verified: claims}
			if w.Repository() != "acme/shop" || w.Run() != (workload.Run{ID: test.run, Verified: true}) || w.Commit() != test.commit || claims["iss"] != c.URL() {
				t.Errorf("repository %q, run %+v, commit %q of %v", w.Repository(), w.Run(), w.Commit(), claims)
			}
		})
	}
}

// TestGitLabsAnswerIsTakenByNamedFields keeps what GitLab says about people, and
// whatever it will say one day, out of records.
func TestGitLabsAnswerIsTakenByNamedFields(t *testing.T) {
	c := newCI(t, "gitlab")
	claims, _, err := c.borrower.Verify(t.Context(), runner(jobLabel, "8"), env("CI_JOB_TOKEN", c.start(t, gitlabSays(t, c.URL()))))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": c.URL(), "job_id": "8", "job_name": "rubocop", "pipeline_id": "6", "project_id": "1", "project_path": "acme/shop",
		"ref": "main", "sha": "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd", "user_id": "1", "user_login": "root", "runner_id": "32",
	}
	if fmt.Sprint(claims) != fmt.Sprint(want) {
		t.Errorf("claims\n%v\nwant\n%v", claims, want)
	}
	for _, address := range []string{"https://elsewhere.example/acme/shop/-/jobs/8", c.URL() + "/acme/shop/-/jobs/9", c.URL() + "/a/-/b/-/jobs/8", ""} {
		claims, _, err := c.borrower.Verify(t.Context(), runner(jobLabel, "8"), env("CI_JOB_TOKEN", c.start(t, with(gitlabSays(t, c.URL()), "web_url", address))))
		if err != nil || claims["project_path"] != nil {
			t.Errorf("%q names %v: %v", address, claims["project_path"], err)
		}
	}
}

// TestPlantedCredentialGivesNothing is a job that shows what it stole from
// another one, which still runs.
func TestPlantedCredentialGivesNothing(t *testing.T) {
	c := newCI(t, "github")
	stolen := c.start(t, githubSays("acme/payments"))
	for name, test := range map[string]struct {
		container workload.Workload
		want      error
		asks      int64
	}{
		"in a runner of another repository": {shop(), identity.ErrUnbound, 1},
		"in a container without the label":  {runner("other", "acme/payments"), identity.ErrNoFact, 0},
		"in no container":                   {workload.Workload{Orch: workload.OrchFacts{Labels: map[string]string{runnerLabel: "acme/payments"}}}, identity.ErrNoFact, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.calls.Load()
			claims, level, err := c.borrower.Verify(t.Context(), test.container, c.github(stolen))
			if claims != nil || level != workload.Unattributed || !errors.Is(err, test.want) {
				t.Fatalf("%v at %s: %v", claims, level, err)
			}
			if strings.Contains(err.Error(), stolen) || strings.Contains(err.Error(), "payments") {
				t.Errorf("the error shows what is nobody's affair: %v", err)
			}
			if asked := c.calls.Load() - before; asked != test.asks {
				t.Errorf("the provider was asked %d times, want %d", asked, test.asks)
			}
		})
	}
	own := runner(runnerLabel, "acme/payments")
	own.Kernel.Container = strings.Repeat("c", 64)
	if _, level, err := c.borrower.Verify(t.Context(), own, c.github(stolen)); level != workload.Minted {
		t.Errorf("its owner is %s: %v", level, err)
	}
}

func TestWhoCanBeRootOnTheNodeLendsNothing(t *testing.T) {
	c := newCI(t, "github")
	credential := c.start(t, githubSays("acme/shop"))
	for _, taint := range []string{workload.TaintPrivileged, workload.TaintBeside, workload.TaintHostPID, workload.TaintRuntimeSocket, workload.TaintHostPath, workload.TaintCapability, workload.TaintUntold} {
		w := shop()
		w.Orch.Taints = []string{taint}
		if _, level, err := c.borrower.Verify(t.Context(), w, c.github(credential)); level != workload.Unattributed || !errors.Is(err, identity.ErrNodeRoot) {
			t.Errorf("%s: %s, %v", taint, level, err)
		}
	}
	if n := c.calls.Load(); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// TestNobodyIsAskedWithoutACredential would else be a warning for each session.
func TestNobodyIsAskedWithoutACredential(t *testing.T) {
	c := newCI(t, "github")
	for name, half := range map[string]func(string) string{
		"nothing": env(), "half": env("ACTIONS_ID_TOKEN_REQUEST_URL", c.RequestURL()),
	} {
		if _, level, err := c.borrower.Verify(t.Context(), shop(), half); level != workload.Unattributed || err != nil {
			t.Errorf("%s: %s, %v", name, level, err)
		}
	}
	var none *identity.Borrower
	if _, level, err := none.Verify(t.Context(), shop(), c.github("x")); level != workload.Unattributed || err != nil || none.Variables() != nil {
		t.Errorf("nobody configured: %s, %v", level, err)
	}
	if n := c.asked.Load() + c.calls.Load(); n != 0 {
		t.Errorf("somebody was asked %d times", n)
	}
}

func TestSecondProviderIsTried(t *testing.T) {
	github, gitlab := newCI(t, "github"), newCI(t, "gitlab")
	both, err := identity.NewBorrower(t.Context(), []identity.Provider{github.provider("github"), gitlab.provider("gitlab")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	credential := gitlab.start(t, gitlabSays(t, gitlab.URL()))
	claims, level, err := both.Verify(t.Context(), runner(jobLabel, "8"), env("CI_JOB_TOKEN", credential,
		"ACTIONS_ID_TOKEN_REQUEST_URL", github.RequestURL(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x"))
	if err != nil || level != workload.Verified || claims["job_id"] != "8" {
		t.Errorf("%v at %s: %v", claims, level, err)
	}
}

func TestWrongProviderIsNamed(t *testing.T) {
	c := newCI(t, "github")
	for want, change := range map[string]func(*identity.Provider){
		"none of github":        func(p *identity.Provider) { p.Kind = "travis" },
		"https://":              func(p *identity.Provider) { p.Issuer = "http://forge.example" },
		"hosts belongs":         func(p *identity.Provider) { p.Hosts = nil },
		"names with a dot":      func(p *identity.Provider) { p.Hosts = []string{"com"} },
		"in lower case":         func(p *identity.Provider) { p.Hosts = []string{"*.example.com"} },
		"need an audience":      func(p *identity.Provider) { p.Audience = "" },
		"variable belongs":      func(p *identity.Provider) { p.Variable = "X" },
		"bind must name":        func(p *identity.Provider) { p.Bind = nil },
		"label:NAME":            func(p *identity.Provider) { p.Bind = []identity.Binding{{Claim: "repository", To: "label:"}} },
		"write a claim and to:": func(p *identity.Provider) { p.Bind = []identity.Binding{{Claim: "", To: "pod_uid"}} },
		"ca_file":               func(p *identity.Provider) { p.CAFile = filepath.Join(t.TempDir(), "absent") },
	} {
		p := c.provider("github")
		change(&p)
		if _, err := identity.NewBorrower(t.Context(), []identity.Provider{p}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error that says %q", err, want)
		}
	}
}

// answering answers every call of the API with something else.
func (c *ciSystem) answering(handler http.HandlerFunc) { c.instead.Store(&handler) }
