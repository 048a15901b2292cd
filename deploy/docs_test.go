package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/policy"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tests returns the names of all test functions of the module.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, match := range declared.FindAllStringSubmatch(read(t, path), -1) {
			names[match[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestThreatModelNamesTestsThatExist(t *testing.T) {
	text, exist := read(t, "../docs/threat-model.md"), tests(t)
	named := regexp.MustCompile(`(?:Test|Fuzz)[A-Z]\w+`).FindAllString(text, -1)
	if len(named) == 0 {
		t.Fatal("it names none")
	}
	for _, name := range named {
		if !exist[name] {
			t.Errorf("there is no %s", name)
		}
	}
	for line := range strings.Lines(section(t, text, "## What stops what")) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| Attack") && !strings.Contains(line, "`Test") {
			t.Errorf("no test stands behind: %s", line)
		}
	}
}

// section returns what follows a heading, up to the next one.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(text, heading+"\n")
	if !found {
		t.Fatalf("there is no %q", heading)
	}
	within, _, _ := strings.Cut(after, "\n## ")
	return within
}

// firstColumn returns what is set as code in the first cells of a table.
func firstColumn(table string) []string {
	var all []string
	code := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, match := range code.FindAllStringSubmatch(cells[1], -1) {
			all = append(all, match[1])
		}
	}
	slices.Sort(all)
	return all
}

// words returns the first group of every match of pattern in a file.
func words(t *testing.T, prefix, file, pattern string) []string {
	t.Helper()
	var all []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1) {
		all = append(all, prefix+match[1])
	}
	if len(all) == 0 {
		t.Fatalf("%s has nothing like %s", file, pattern)
	}
	return all
}

func TestEveryAlertAndFindingIsExplained(t *testing.T) {
	text := read(t, "../docs/operations.md")
	alerts := slices.Concat(
		words(t, "", "../pkg/redirect/alert.go", `AlertKind = "([^"]+)"`),
		words(t, "", "../pkg/broker/broker.go", `AlertKind = "([^"]+)"`),
		words(t, "", "../pkg/agent/serve.go", `a\.alert\("([^"]+)"`),
		words(t, "", "../pkg/agent/identity.go", `a\.alert\("([^"]+)"`),
		words(t, "", "../cmd/sluice-agent/policies.go", `Kind: "([^"]+)"`),
		words(t, "", "../pkg/audit/receive.go", `Kind(?:: | = )"([^"]+)"`),
		words(t, "", "../pkg/audit/shares.go", `Kind: "([^"]+)"`),
		words(t, "spool-", "../pkg/spool/spool.go", `DamageKind = "([^"]+)"`),
	)
	findings := words(t, "", "../pkg/collector/store/findings.go", `(?m)^\t[A-Z]\w+\s+= "([^"]+)"`)
	for heading, want := range map[string][]string{"## Alerts": alerts, "## Findings": findings} {
		slices.Sort(want)
		if got := firstColumn(section(t, text, heading)); !slices.Equal(got, want) {
			t.Errorf("%s explains\n%q\nand the programs say\n%q", heading, got, want)
		}
	}
}

// fenced returns the blocks of a language in a document, without indentation.
func fenced(text, language string) []string {
	block := regexp.MustCompile("(?ms)^( *)```" + language + "\n(.*?)^ *```$")
	var all []string
	for _, match := range block.FindAllStringSubmatch(text, -1) {
		body := match[2]
		if match[1] != "" {
			body = regexp.MustCompile("(?m)^"+match[1]).ReplaceAllString(body, "")
		}
		all = append(all, body)
	}
	return all
}

// TestConfigurationsInTheGuideAreAccepted reads each whole file of the guide,
// and each piece of the collector's or the agent's together with it. The command line's own
// file is read by cmd/sluice.
func TestConfigurationsInTheGuideAreAccepted(t *testing.T) {
	var collectors, agents, policies, pieces, ofAgents []string
	for _, file := range fenced(read(t, "../docs/operations.md"), "yaml") {
		switch {
		case strings.HasPrefix(file, "# /etc/sluice/collector.yaml"):
			collectors = append(collectors, file)
		case strings.HasPrefix(file, "# /etc/sluice/agent.yaml"):
			agents = append(agents, file)
		case strings.HasPrefix(file, "# /etc/sluice/policy.yaml"):
			policies = append(policies, file)
		case strings.HasPrefix(file, "identity:"):
			ofAgents = append(ofAgents, file)
		case !strings.HasPrefix(file, "# collector, your token"):
			pieces = append(pieces, file)
		}
	}
	if len(collectors) != 1 || len(agents) != 1 || len(policies) != 2 || len(pieces) != 4 || len(ofAgents) != 1 {
		t.Fatalf("%d files of the collector, %d of the agent, %d policies, %d and %d pieces", len(collectors), len(agents), len(policies), len(pieces), len(ofAgents))
	}
	for _, file := range policies {
		if _, err := policy.Parse("/etc/sluice/policy.yaml", []byte(file)); err != nil {
			t.Error(err)
		}
	}
	for _, piece := range append(ofAgents, "") {
		if _, err := config.Parse[config.Agent]("/etc/sluice/agent.yaml", []byte(agents[0]+piece)); err != nil {
			t.Errorf("%v in\n%s", err, piece)
		}
	}
	ownBus := regexp.MustCompile(`(?m)^bus: .*\n`)
	for _, piece := range append(pieces, "") {
		whole := collectors[0]
		if strings.HasPrefix(piece, "bus:") { // in place of the one that listens
			whole = ownBus.ReplaceAllString(whole, "")
		}
		if _, err := config.Parse[collector.Config]("/etc/sluice/collector.yaml", []byte(whole+piece)); err != nil {
			t.Errorf("%v in\n%s", err, piece)
		}
	}
}

func TestLinksInDocumentsLead(t *testing.T) {
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	others := []string{"README.md", "../testenv/README.md", "../bpf/README.md", "../pkg/protocol/postgres/README.md"}
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	for _, document := range append(documents, others...) {
		for _, match := range link.FindAllStringSubmatch(read(t, document), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), match[1])); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}

// TestTheEchoInTheRecipeIsTheOneThatIsTested compares each piece of Go in the
// recipe with the code that pkg/protocol/protocoltest runs.
func TestTheEchoInTheRecipeIsTheOneThatIsTested(t *testing.T) {
	tested := read(t, "../pkg/protocol/echo_test.go")
	pieces := fenced(read(t, "../docs/adding-a-protocol.md"), "go")
	if len(pieces) < 3 {
		t.Fatalf("the recipe shows %d pieces", len(pieces))
	}
	for _, piece := range pieces {
		if !strings.Contains(tested, strings.TrimSpace(piece)) {
			t.Errorf("this is not tested:\n%s", piece)
		}
	}
}
