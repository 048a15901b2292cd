package attribution

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/workload"
)

// marker is an environment variable that an AI coding agent sets for the
// commands it runs. Any job can set it too, so it is evidence of the weakest
// kind: what is claimed.
type marker struct{ variable, product string }

// markers names one product per variable, the most telling first.
var markers = []marker{
	{"CLAUDE_CODE_ACTION", "claude-code-action"},
	{"CLAUDECODE", "claude-code"},
	{"CLAUDE_CODE_ENTRYPOINT", "claude-code"},
	{"CODEX_THREAD_ID", "codex"},
	{"CODEX_SANDBOX", "codex"},
	{"GEMINI_CLI", "gemini-cli"},
	{"COPILOT_CLI", "copilot-cli"},
	{"COPILOT_AGENT_JOB_ID", "copilot"},
	{"CURSOR_AGENT", "cursor"},
	{"CURSOR_TRACE_ID", "cursor"},
	{"OPENCODE", "opencode"},
	{"QWEN_CODE", "qwen-code"},
	{"AUGMENT_AGENT", "augment"},
	{"AI_AGENT", "unnamed"},
	{"AGENT", "unnamed"},
}

// jobVariables are set by CI systems in every job.
var jobVariables = []string{"CI", "GITHUB_ACTIONS", "GITEA_ACTIONS", "GITLAB_CI", "BUILDKITE", "JENKINS_URL", "CIRCLECI", "TF_BUILD", "TRAVIS", "DRONE"}

// jobLabels are prefixes of the labels that CI systems put on the containers
// of a job.
var jobLabels = []string{"com.gitlab.gitlab-runner.", "com.github.actions.", "buildkite.com/", "jenkins/", "tekton.dev/"}

// markerProduct returns the product that a variable stands for, or nothing.
func markerProduct(variable string) string {
	for _, m := range markers {
		if m.variable == variable {
			return m.product
		}
	}
	return ""
}

// classify says what kind of actor a workload's facts speak of. No evidence
// gives unknown, which never means "not an AI agent".
func classify(w workload.Workload) workload.Agent {
	if agent, found := classifyAI(w.Claimed.Env); found {
		return agent
	}
	agent := workload.Agent{Kind: workload.AgentUnknown}
	for label := range w.Orch.Labels {
		if hasPrefix(label, jobLabels) {
			agent.Evidence = append(agent.Evidence, "orch.label "+label)
		}
	}
	slices.Sort(agent.Evidence)
	for _, variable := range jobVariables {
		if w.Claimed.Env[variable] != "" {
			agent.Evidence = append(agent.Evidence, "claimed.env "+variable)
		}
	}
	if len(agent.Evidence) > 0 {
		agent.Kind = workload.AgentPipeline
	}
	return agent
}

func classifyAI(env map[string]string) (workload.Agent, bool) {
	agent := workload.Agent{Kind: workload.AgentAI}
	for _, m := range markers {
		value := env[m.variable]
		if value == "" || value == "0" || value == "false" {
			continue
		}
		agent.Evidence = append(agent.Evidence, "claimed.env "+m.variable)
		if agent.Product == "" {
			agent.Product = productOf(m, value)
		}
	}
	return agent, len(agent.Evidence) > 0
}

// productOf reads the product out of the generic markers, which name it in
// their value: AI_AGENT=claude-code_2.1_agent.
func productOf(m marker, value string) string {
	if m.product != "unnamed" || value == "1" || value == "true" {
		return m.product
	}
	name, _, _ := strings.Cut(value, "_")
	return name
}

func hasPrefix(text string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}
