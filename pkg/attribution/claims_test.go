package attribution

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/workload"
)

func TestEnvironmentKeepsOnlyNamedVariables(t *testing.T) {
	environ := strings.Join([]string{
		"CI=true", "GITHUB_RUN_ID=42", "GITHUB_TOKEN=ghs_secret", "CI_JOB_TOKEN=glcbt", "PGPASSWORD=hunter2",
		"CLAUDECODE=1", "PATH=/bin", "no-equals-sign", "=empty name", "CI=second",
		"GITHUB_REF=\xff\x1b[2Jmain", "JENKINS_URL=https://me:pw@ci.example/job",
	}, "\x00") + "\x00"
	want := map[string]string{
		"CI": "true", "GITHUB_RUN_ID": "42", "CLAUDECODE": "1",
		"GITHUB_REF":  "\ufffd\ufffd[2Jmain",
		"JENKINS_URL": "https://***@ci.example/job",
	}
	if diff := cmp.Diff(want, parseEnviron([]byte(environ))); diff != "" {
		t.Errorf("parseEnviron (-want +got):\n%s", diff)
	}
}

func TestNoKeptVariableSpeaksOfASecret(t *testing.T) {
	secret := regexp.MustCompile(`TOKEN|SECRET|PASS|KEY|CREDENTIAL|JWT|AUTH|URL$`)
	names := slices.Concat(keptVariables, genericMarkers)
	for _, product := range workload.Products {
		names = append(names, product.Variables...)
	}
	for _, name := range names {
		if secret.MatchString(name) && name != "JENKINS_URL" {
			t.Errorf("%s is kept, but its name speaks of a secret", name)
		}
	}
}

func TestCommandHidesPasswords(t *testing.T) {
	tests := []struct {
		name string
		in   []string
		want []string
	}{
		{"URL", []string{"psql", "postgres://app:hunter2@pg.lab/shop"}, []string{"psql", "postgres://***@pg.lab/shop"}},
		{"connection string", []string{"psql", "host=pg.lab password=hunter2 dbname=shop"}, []string{"psql", "host=pg.lab password=*** dbname=shop"}},
		{"quoted", []string{"sh", "-c", "PGPASSWORD='a b' psql"}, []string{"sh", "-c", "PGPASSWORD=*** psql"}},
		{"option with =", []string{"mysql", "--password=hunter2"}, []string{"mysql", "--password=***"}},
		{"option and value", []string{"curl", "--token", "abc", "-v"}, []string{"curl", "--token", "***", "-v"}},
		{"nothing to hide", []string{"psql", "-h", "pg.lab", "-c", "select 1"}, []string{"psql", "-h", "pg.lab", "-c", "select 1"}},
		{"empty argument stays", []string{"psql", "", "x"}, []string{"psql", "", "x"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := parseCommand([]byte(strings.Join(test.in, "\x00") + "\x00"))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("parseCommand (-want +got):\n%s", diff)
			}
		})
	}
}

func TestActorFollowsTheStrongestEvidence(t *testing.T) {
	tests := []struct {
		name   string
		env    map[string]string
		labels map[string]string
		want   workload.Agent
	}{
		{"nothing", nil, nil, workload.Agent{Kind: workload.AgentUnknown}},
		{
			"pipeline",
			map[string]string{"CI": "true"},
			nil,
			workload.Agent{Kind: workload.AgentPipeline, Evidence: []string{"claimed.env CI"}},
		},
		{
			"pipeline by label", nil,
			map[string]string{"com.gitlab.gitlab-runner.job.id": "7", "other": "x"},
			workload.Agent{Kind: workload.AgentPipeline, Evidence: []string{"orch.label com.gitlab.gitlab-runner.job.id"}},
		},
		{
			"agent in a pipeline",
			map[string]string{"CI": "true", "CLAUDECODE": "1"},
			nil,
			workload.Agent{Kind: workload.AgentAI, Product: "claude-code", Evidence: []string{"claimed.env CLAUDECODE"}},
		},
		{
			"generic marker names its product",
			map[string]string{"AI_AGENT": "goose_1.4_agent"},
			nil,
			workload.Agent{Kind: workload.AgentAI, Product: "goose", Evidence: []string{"claimed.env AI_AGENT"}},
		},
		{"marker that is off", map[string]string{"CLAUDECODE": "0"}, nil, workload.Agent{Kind: workload.AgentUnknown}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := classify(workload.Workload{
				Claimed: workload.Claims{Env: test.env},
				Orch:    workload.OrchFacts{Labels: test.labels},
			}, nil)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("classify (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseClaims(f *testing.F) {
	f.Add([]byte("CI=1\x00GITHUB_REF=\xff\x00"))
	f.Add([]byte("psql\x00--password\x00x\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, value := range parseEnviron(raw) {
			if !utf8.ValidString(value) || strings.ContainsAny(value, "\x00\x1b\n") || !kept(name) {
				t.Errorf("kept %q=%q", name, value)
			}
		}
		command := parseCommand(raw)
		if len(command) > maxCommand+1 {
			t.Errorf("kept %d arguments", len(command))
		}
		for _, arg := range command {
			if !utf8.ValidString(arg) || len(arg) > 4*maxValue {
				t.Errorf("kept argument %q", arg)
			}
		}
	})
}
