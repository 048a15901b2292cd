package attribution

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxValue   = 1 << 10 // bytes kept of one value or argument
	maxCommand = 64      // arguments kept
)

// keptVariables is the environment that is kept, by name: what CI systems and
// AI coding agents set to describe a job. It names no variable that holds a
// credential, nor one whose value usually carries one (repository URLs, commit
// messages).
var keptVariables = []string{
	"CI",
	// GitHub, Gitea and Forgejo
	"GITHUB_ACTIONS", "GITHUB_ACTOR", "GITHUB_ACTOR_ID", "GITHUB_BASE_REF", "GITHUB_EVENT_NAME", "GITHUB_HEAD_REF",
	"GITHUB_JOB", "GITHUB_REF", "GITHUB_REPOSITORY", "GITHUB_REPOSITORY_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_RUN_ID",
	"GITHUB_RUN_NUMBER", "GITHUB_SHA", "GITHUB_TRIGGERING_ACTOR", "GITHUB_WORKFLOW", "GITHUB_WORKFLOW_REF",
	"GITEA_ACTIONS", "RUNNER_NAME", "RUNNER_ENVIRONMENT",
	// GitLab
	"GITLAB_CI", "GITLAB_USER_ID", "GITLAB_USER_LOGIN", "CI_COMMIT_REF_NAME", "CI_COMMIT_SHA", "CI_ENVIRONMENT_NAME",
	"CI_JOB_ID", "CI_JOB_NAME", "CI_JOB_STAGE", "CI_PIPELINE_ID", "CI_PIPELINE_SOURCE", "CI_PROJECT_ID",
	"CI_PROJECT_PATH", "CI_RUNNER_ID",
	// Buildkite
	"BUILDKITE", "BUILDKITE_AGENT_NAME", "BUILDKITE_BRANCH", "BUILDKITE_BUILD_ID", "BUILDKITE_BUILD_NUMBER",
	"BUILDKITE_COMMIT", "BUILDKITE_JOB_ID", "BUILDKITE_ORGANIZATION_SLUG", "BUILDKITE_PIPELINE_SLUG",
	// Jenkins
	"JENKINS_URL", "JOB_NAME", "BUILD_ID", "BUILD_NUMBER", "BUILD_TAG", "NODE_NAME",
	// CircleCI and others
	"CIRCLECI", "CIRCLE_BUILD_NUM", "CIRCLE_JOB", "CIRCLE_WORKFLOW_ID", "TF_BUILD", "TRAVIS", "DRONE",
}

// parseEnviron keeps the variables of keptVariables and the markers of AI
// coding agents. The first of two equal names counts, as for getenv(3).
func parseEnviron(environ []byte) map[string]string {
	env := make(map[string]string)
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		name, value, found := bytes.Cut(entry, []byte("="))
		if !found || !kept(string(name)) {
			continue
		}
		if _, twice := env[string(name)]; twice {
			continue
		}
		env[string(name)] = hideSecrets(printable(string(value), maxValue))
	}
	return env
}

func kept(name string) bool {
	return slices.Contains(keptVariables, name) || isMarker(name)
}

// parseCommand splits a command line and hides what looks like a password in
// it. That is an effort, not a promise: what a program takes as a password is
// its own affair.
func parseCommand(cmdline []byte) []string {
	if len(cmdline) == 0 {
		return nil
	}
	var command []string
	hideNext := false
	for arg := range bytes.SplitSeq(bytes.TrimSuffix(cmdline, []byte{0}), []byte{0}) {
		if len(command) == maxCommand {
			return append(command, "…")
		}
		text := hideSecrets(printable(string(arg), maxValue))
		if hideNext {
			text = hidden
		}
		hideNext = secretFlag.MatchString(text)
		command = append(command, text)
	}
	return command
}

// hidden stands for what may be a secret.
const hidden = "***"

var (
	userinfo = regexp.MustCompile(`://[^/@\s]*@`)
	// assignment is "password=…" in a connection string, an option or a shell
	// command, quoted or not.
	assignment = regexp.MustCompile(`(?i)((?:password|passwd|pwd|pass|secret|token|api_?key|auth)\w*\s*[=:]\s*)('[^']*'|"[^"]*"|[^\s&;]+)`)
	secretFlag = regexp.MustCompile(`(?i)^--?[\w-]*(?:password|passwd|secret|token|api-?key)$`)
)

// hideSecrets removes user and password from URLs and what is assigned to a
// name that speaks of a secret.
func hideSecrets(text string) string {
	text = userinfo.ReplaceAllString(text, "://"+hidden+"@")
	return assignment.ReplaceAllString(text, "${1}"+hidden)
}

// printable returns text as valid UTF-8 without control and formatting
// characters, which could move a reader's cursor or turn the text around, and
// at most limit bytes of it.
func printable(text string, limit int) string {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
}
