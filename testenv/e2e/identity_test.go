package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/testenv/underlab"
)

// ciJob starts a job at the lab's CI system and returns the options by which its
// container has the job's variables and the labels that its runner gave it.
func ciJob(t *testing.T, system string, says []string, labels ...string) (options []string) {
	t.Helper()
	r := run(append([]string{"ci", system}, says...)...)
	if r.code != 0 {
		t.Fatal(r.all())
	}
	for variable := range strings.Lines(r.out) {
		options = append(options, "--env", strings.TrimSpace(variable))
	}
	for _, label := range labels {
		options = append(options, "--label", label)
	}
	return options
}

// asJob runs a statement in a container with options.
func asJob(options []string, statement string) result {
	return run(append(append([]string{"job"}, options...), append([]string{"--"}, psqlArgs(statement)...)...)...)
}

// credentialOf is the last variable's value.
func credentialOf(options []string) (credential string) {
	for i, option := range options {
		if option == "--env" {
			_, credential, _ = strings.Cut(options[i+1], "=")
		}
	}
	return credential
}

func session(t *testing.T, began time.Time) sessionView {
	t.Helper()
	return newest(t, began, func(s sessionView) bool { return s.Operations > 0 })
}

func TestJobsOwnProviderSaysWhoItIs(t *testing.T) {
	for name, test := range map[string]struct {
		options []string
		level   string
		want    map[string]string
	}{
		"github": {
			ciJob(t, "github", []string{"repository=acme/payments", "run_id=4711", "actor_id=1001", "sha=9f31"}, "ci.lab/repository=acme/payments"),
			"A4",
			map[string]string{"repository": "acme/payments", "run_id": "4711", "actor_id": "1001", "sha": "9f31"},
		},
		"buildkite": {
			ciJob(t, "buildkite", []string{"job_id=0184990a-477b-4fa8-9968-496074483cee", "organization_slug=acme", "pipeline_slug=payments"},
				"buildkite.com/job-uuid=0184990a-477b-4fa8-9968-496074483cee"),
			"A4",
			map[string]string{"organization_slug": "acme", "pipeline_slug": "payments", "build_id": "build-1"},
		},
		"gitlab, which is a protected server too": {
			ciJob(t, "gitlab", []string{"job_id=8", "pipeline_id=6", "user_id=1", "sha=9f31", "project_path=acme/payments"},
				"com.gitlab.gitlab-runner.job.id=8"),
			"A3",
			map[string]string{"project_path": "acme/payments", "pipeline_id": "6", "user_id": "1", "sha": "9f31", "job_id": "8"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			if r := asJob(test.options, "SELECT 4712"); strings.TrimSpace(r.out) != "4712" {
				t.Fatal(r.all())
			}
			s := session(t, began)
			if s.Assurance != test.level {
				t.Errorf("the session is %s, want %s, with %v", s.Assurance, test.level, s.Verified)
			}
			for claim, want := range test.want {
				if s.Verified[claim] != want {
					t.Errorf("%s is %v, want %s", claim, s.Verified[claim], want)
				}
			}
			nowhereToBeRead(t, credentialOf(test.options), s.ID)
		})
	}
}

// nowhereToBeRead looks for a credential in what the agent wrote and in what is recorded.
func nowhereToBeRead(t *testing.T, credential, session string) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(lab.dir, "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	lacks(t, string(log)+ctl(t, "show", "--json", session)+ctl(t, "replay", session), credential)
}

// TestRulesReadWhatTheProviderSays has the same statement sent by the jobs of two
// repositories.
func TestRulesReadWhatTheProviderSays(t *testing.T) {
	for repository, denied := range map[string]bool{"acme/payments": true, "acme/web": false} {
		options := ciJob(t, "github", []string{"repository=" + repository, "run_id=1"}, "ci.lab/repository="+repository)
		r := asJob(options, "NOTIFY nobody")
		if got := strings.Contains(r.errs, "payments-do-not-notify"); got != denied {
			t.Errorf("%s: denied %v: %s", repository, got, r.all())
		}
	}
}

// TestStolenCredentialGivesNothing shows the credential of a job that still runs
// in the container of another, and in one that no runner labelled.
func TestStolenCredentialGivesNothing(t *testing.T) {
	stolen := ciJob(t, "github", []string{"repository=acme/payments", "run_id=4711"})
	for name, labels := range map[string][]string{
		"another repository's": {"--label", "ci.lab/repository=acme/shop"}, "nobody's": nil,
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			if r := asJob(append(stolen, labels...), "SELECT 4713"); strings.TrimSpace(r.out) != "4713" {
				t.Fatal(r.all())
			}
			s := session(t, began)
			if s.Assurance == "A4" || s.Verified["run_id"] != nil || s.Verified["repository"] == "acme/payments" {
				t.Errorf("the session is %s, with %v", s.Assurance, s.Verified)
			}
			nowhereToBeRead(t, credentialOf(stolen), s.ID)
		})
	}
	out := filepath.Join(t.TempDir(), "bundle")
	ctl(t, "export", "--since", "5m", "-o", out)
	underlab.Within(t, time.Minute, "the theft is an alert", func() bool {
		records, err := filepath.Glob(filepath.Join(out, "records", "*"))
		if err != nil || len(records) == 0 {
			t.Fatal("the bundle has no records", err)
		}
		for _, file := range records {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), `"credential-unbound"`) {
				return true
			}
		}
		return false
	})
}
