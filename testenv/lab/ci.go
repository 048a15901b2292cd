package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/testenv/issuer"
)

const (
	repositoryLabel = "ci.lab/repository" // what a fleet's owner gives a repository's runners
	buildkiteLabel  = "buildkite.com/job-uuid"
	gitlabLabel     = "com.gitlab.gitlab-runner.job.id"
)

// ciSystem is the lab's CI system: beside the issuer, and its GitLab at web.lab,
// which is a protected server.
func (l *lab) ciSystem() (*issuer.CI, error) {
	i, err := l.issuer()
	if err != nil {
		return nil, err
	}
	return issuer.NewCI(i, l.path("ci"))
}

// ci starts a job at the CI system and prints the variables that it would find
// in its environment. What the CI system says of it are the words NAME=VALUE.
func (l *lab) ci(args []string) error {
	if len(args) == 0 {
		return errors.New("ci takes github, buildkite or gitlab and NAME=VALUE…")
	}
	says := make(map[string]any)
	for _, word := range args[1:] {
		name, value, found := strings.Cut(word, "=")
		if !found {
			return fmt.Errorf("%q is not NAME=VALUE", word)
		}
		says[name] = value
	}
	system, err := l.ciSystem()
	if err != nil {
		return err
	}
	var variables string
	switch args[0] {
	case "github":
		variables = "ACTIONS_ID_TOKEN_REQUEST_URL=" + system.RequestURL() + "\nACTIONS_ID_TOKEN_REQUEST_TOKEN="
		says["sub"] = fmt.Sprintf("repo:%s:ref:refs/heads/main", says["repository"])
	case "buildkite":
		variables = fmt.Sprintf("BUILDKITE_JOB_ID=%s\nBUILDKITE_AGENT_ACCESS_TOKEN=", says["job_id"])
		says["sub"] = fmt.Sprintf("organization:%s:pipeline:%s:ref:refs/heads/main:commit:HEAD:step:", says["organization_slug"], says["pipeline_slug"])
	case "gitlab":
		variables = "CI_JOB_TOKEN="
		if says, err = gitlabJob(says); err != nil {
			return err
		}
	default:
		return fmt.Errorf("ci does not know %s", args[0])
	}
	credential, err := system.Start(says)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, variables+credential)
	return err
}

// gitlabJob is a job as GitLab's API shows it, of words that are named as the
// claims of its tokens are.
func gitlabJob(words map[string]any) (map[string]any, error) {
	ids := make(map[string]int)
	for _, name := range []string{"job_id", "pipeline_id", "user_id"} {
		text, _ := words[name].(string)
		id, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%s must be a number", name)
		}
		ids[name] = id
	}
	return map[string]any{
		"id": ids["job_id"], "name": "deploy", "ref": "main", "status": "running",
		"pipeline": map[string]any{"id": ids["pipeline_id"], "project_id": 1, "sha": words["sha"]},
		"user":     map[string]any{"id": ids["user_id"], "username": "developer"},
		"runner":   map[string]any{"id": 1},
		"web_url":  fmt.Sprintf("%s/%s/-/jobs/%d", webURL, words["project_path"], ids["job_id"]),
	}, nil
}

// providers is the agent's configuration for the CI system.
func (l *lab) providers() string {
	return fmt.Sprintf(`  providers:
    - kind: github
      issuer: %[1]s
      ca_file: %[2]s
      audience: %[3]s
      hosts: ["%[4]s"]
      bind: [{claim: repository, to: "label:%[5]s"}]
    - kind: buildkite
      issuer: %[1]s
      ca_file: %[2]s
      audience: %[3]s
      bind: [{claim: job_id, to: "label:%[6]s"}]
    - kind: gitlab
      issuer: %[7]s
      ca_file: %[2]s
      bind: [{claim: job_id, to: "label:%[8]s"}]
`, l.issuerURL(), l.caFile(), audience, l.issuerAddress(), repositoryLabel, buildkiteLabel, webURL, gitlabLabel)
}
