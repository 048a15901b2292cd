package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/policy"
)

// TestStartersDecideAndLeaveAlone asks every policy that we ship its cases.
// Each rule must decide one of them, and not match another of its resource:
// a rule that matches everything, or nothing, teaches nobody anything.
func TestStartersDecideAndLeaveAlone(t *testing.T) {
	files, err := filepath.Glob("../../deploy/policies/*.cases.yaml")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d files of cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".cases.yaml"), func(t *testing.T) { testStarter(t, file) })
	}
}

func testStarter(t *testing.T, file string) {
	name := strings.TrimSuffix(file, ".cases.yaml") + ".yaml"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	failures, err := p.Test(file, cases)
	if err != nil {
		t.Fatal(err)
	}
	for _, failure := range failures {
		t.Error(failure)
	}
	rules, decided, left := p.RuleNames(), map[string]bool{}, map[string]bool{}
	for _, q := range policy.Questions(file, cases) {
		_, asked := p.Explain(q.Session, q.Operation)
		for _, a := range asked {
			decided[a.Rule] = decided[a.Rule] || a.Decides
			left[a.Rule] = left[a.Rule] || a.Answer == "does not match"
		}
	}
	if len(rules) == 0 {
		t.Error("there are no rules")
	}
	for _, rule := range rules {
		if !decided[rule] || !left[rule] {
			t.Errorf("rule %s: decides a case: %v; leaves one alone: %v", rule, decided[rule], left[rule])
		}
	}
}
