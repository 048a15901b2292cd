package attribution

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/workload"
)

// genericMarkers are variables that AI coding agents have in common. They name
// the product in their value, if at all.
var genericMarkers = []string{"AI_AGENT", "AGENT"}

// jobVariables are set by CI systems in every job.
var jobVariables = []string{"CI", "GITHUB_ACTIONS", "GITEA_ACTIONS", "GITLAB_CI", "BUILDKITE", "JENKINS_URL", "CIRCLECI", "TF_BUILD", "TRAVIS", "DRONE"}

// jobLabels are prefixes of the labels that CI systems put on the containers
// of a job.
var jobLabels = []string{"com.gitlab.gitlab-runner.", "com.github.actions.", "buildkite.com/", "jenkins/", "tekton.dev/"}

// isMarker reports whether AI coding agents set a variable for the commands that
// they run. Any job can set it too, so it is evidence of the weakest kind: what
// is claimed.
func isMarker(variable string) bool {
	return slices.Contains(genericMarkers, variable) || slices.ContainsFunc(workload.Products, func(p workload.Product) bool {
		return slices.Contains(p.Variables, variable)
	})
}

// classify says what kind of actor a workload's facts speak of. No evidence
// gives unknown, which never means "not an AI agent".
//
// Whatever speaks of an AI agent outweighs what speaks of a pipeline: it runs in
// one. What the kernel saw names the product before what the job claims. A name
// that others have too is not enough for an AI agent, and too much for a pipeline.
func classify(w workload.Workload, lineage *workload.Lineage) workload.Agent {
	executed, certain := agentsExecuted(lineage)
	claimed := agentsClaimed(w.Claimed.Env)
	agent := workload.Agent{Kind: workload.AgentUnknown, Product: executed.Product, Evidence: executed.Evidence}
	if certain || len(claimed.Evidence) > 0 {
		agent.Kind = workload.AgentAI
		agent.Evidence = append(agent.Evidence, claimed.Evidence...)
		if !certain { // then a name that others have too says less than a marker
			agent.Product = claimed.Product
		}
		return agent
	}
	if len(agent.Evidence) > 0 {
		return agent
	}
	agent.Evidence = pipelineEvidence(w)
	if len(agent.Evidence) > 0 {
		agent.Kind = workload.AgentPipeline
	}
	return agent
}

func pipelineEvidence(w workload.Workload) (evidence []string) {
	for label := range w.Orch.Labels {
		if hasPrefix(label, jobLabels) {
			evidence = append(evidence, "orch.label "+label)
		}
	}
	slices.Sort(evidence)
	for _, variable := range jobVariables {
		if w.Claimed.Env[variable] != "" {
			evidence = append(evidence, "claimed.env "+variable)
		}
	}
	return evidence
}

// agentsClaimed are the markers in the environment. The first product counts.
func agentsClaimed(env map[string]string) (agent workload.Agent) {
	claims := func(variable, product string) {
		value := env[variable]
		if value == "" || value == "0" || value == "false" {
			return
		}
		agent.Evidence = append(agent.Evidence, "claimed.env "+variable)
		if agent.Product == "" {
			agent.Product = product
		}
	}
	for _, product := range workload.Products {
		for _, variable := range product.Variables {
			claims(variable, product.Name)
		}
	}
	for _, variable := range genericMarkers {
		claims(variable, productIn(env[variable]))
	}
	return agent
}

// productIn reads the product out of the value of a generic marker:
// AI_AGENT=claude-code_2.1_agent.
func productIn(value string) string {
	if value == "1" || value == "true" {
		return "unnamed"
	}
	name, _, _ := strings.Cut(value, "_")
	return name
}

func hasPrefix(text string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}
