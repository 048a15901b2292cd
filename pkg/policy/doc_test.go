package policy_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/policy"
)

const guide = "../../docs/policy.md"

var update = flag.Bool("update", false, "write the table of words in docs/policy.md")

// TestExamplesInTheGuideWork parses every policy in docs/policy.md and asks it
// the cases that follow it.
func TestExamplesInTheGuideWork(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	var current *policy.Policy
	asked := 0
	for i, block := range strings.Split(string(text), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		if !strings.HasPrefix(example, "cases:") {
			if current, err = policy.Parse("policy.md", []byte(example)); err != nil {
				t.Errorf("example %d: %v", i, err)
			}
			continue
		}
		failures, err := current.Test("policy.md", []byte(example))
		if err != nil {
			t.Errorf("example %d: %v", i, err)
		}
		for _, failure := range failures {
			t.Errorf("example %d: %s", i, failure)
		}
		asked++
	}
	if asked == 0 {
		t.Error("the guide has no cases")
	}
}

// TestGuideListsEveryWord compares the guide's table with the vocabulary.
func TestGuideListsEveryWord(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- words: written by go generate ./pkg/policy -->\n", "<!-- end of words -->"
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("the guide has no place for the words")
	}
	want := before + begin + policy.Words() + end + after
	if *update {
		if err := os.WriteFile(guide, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Error("docs/policy.md does not list the words that conditions have: run go generate ./pkg/policy")
	}
}

func TestCasesThatMeanNothingAreRefused(t *testing.T) {
	p := valid(t, "shop.yaml")
	_, err := p.Test("c.yaml", []byte("cases:\n  - {resource: x, op: {unparsed: true, statements: []}, expect: {effect: maybe}}\n  - {name: n, resource: shop-db, who: {assurance: A9}, op: {statements: [{class: dll}]}}\n"))
	want := `c.yaml:2:5: cases[0].name: is missing: say what the case shows
c.yaml:2:16: cases[0].resource: there is no resource "x" in the policy
c.yaml:2:52: cases[0].op.statements: has no use: what could not be parsed has no statements
c.yaml:2:74: cases[0].expect.effect: "maybe" is not an effect: write allow, hold or deny
c.yaml:3:5: cases[1].expect: is missing: write an effect or a user
c.yaml:3:51: cases[1].who.assurance: "A9" is not one of A0, A1, A2, A3, A4
c.yaml:3:82: cases[1].op.statements[0].class: "dll" is not one of read, write, ddl, privilege, session, transaction, copy, admin, procedural, unknown`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := p.Test("c.yaml", []byte("cases: []\n")); err == nil {
		t.Error("no cases were accepted")
	}
}

func TestFailingCaseIsNamed(t *testing.T) {
	p := valid(t, "shop.yaml")
	failures, err := p.Test("c.yaml", []byte("cases:\n  - {name: ddl is free, resource: shop-db, op: {statements: [{kind: DROP TABLE, class: ddl}]}, expect: {effect: allow, user: app_ro}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(failures) != 1 || !strings.Contains(failures[0], "ddl is free") || !strings.Contains(failures[0], "got hold") || !strings.Contains(failures[0], `got user "app"`) {
		t.Errorf("got %q", failures)
	}
}
