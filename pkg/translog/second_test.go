package translog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/translog"
)

// secondVerifier is written from docs/audit-format.md, in another language.
const secondVerifier = "../../docs/audit-format/verify.py"

// driver runs the second verifier over many bundles in one process.
const driver = `
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("verify", sys.argv[1])
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
for arguments in json.load(sys.stdin):
    print("status", verify.main(*arguments), flush=True)
`

// TestSecondVerifierAgrees gives both verifiers everything in the corpus: they
// must find the same.
func TestSecondVerifierAgrees(t *testing.T) {
	all := append(corpus(), honest()...)
	var runs [][]string
	for i := range all {
		runs = append(runs, write(t, &all[i]))
	}
	answers := second(t, runs)
	for i, c := range all {
		t.Run(c.name, func(t *testing.T) {
			want := answer{codes: c.want}
			if len(c.want) > 0 {
				want.status = 1
			}
			if diff := cmp.Diff(want, answers[i], cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// honest are bundles in which there is nothing to find.
func honest() []tampering {
	var all []tampering
	for _, scope := range []translog.Scope{
		{Kind: translog.WholeLog}, {Kind: translog.Range, First: 1}, {Kind: translog.Range, First: 5}, {Kind: translog.OneSession, Session: session1},
	} {
		all = append(all, tampering{
			name:  "nothing, in a bundle of kind " + string(scope.Kind) + " from " + strconv.FormatInt(scope.First, 10),
			world: func(_ *testing.T, w *world) { w.scope = scope },
			want:  []translog.Code{},
		})
	}
	return all
}

// write makes the files of one run and returns its arguments.
func write(t *testing.T, c *tampering) []string {
	t.Helper()
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, data, 0o600))
		return path
	}
	files, trust, kept := c.make(t)
	for name, f := range files {
		file("bundle/"+name, f.Data)
	}
	encoded, err := json.Marshal(trust)
	must(t, err)
	arguments := []string{file("trust.json", encoded), filepath.Join(dir, "bundle")}
	for i, one := range kept {
		arguments = append(arguments, file("kept"+strconv.Itoa(i), one))
	}
	return arguments
}

// answer is what the second verifier says of one bundle.
type answer struct {
	status int
	codes  []translog.Code // each once, sorted
}

func second(t *testing.T, runs [][]string) []answer {
	t.Helper()
	encoded, err := json.Marshal(runs)
	must(t, err)
	var errs strings.Builder
	cmd := exec.Command("python3", "-c", driver, secondVerifier)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(encoded), &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("%v: %s", err, errs.String())
	}
	answers := []answer{}
	next := answer{codes: []translog.Code{}}
	for line := range strings.Lines(string(out)) {
		if status, ends := strings.CutPrefix(strings.TrimSpace(line), "status "); ends {
			next.status, err = strconv.Atoi(status)
			must(t, err)
			slices.Sort(next.codes)
			answers, next = append(answers, next), answer{codes: []translog.Code{}}
			continue
		}
		code, _, _ := strings.Cut(line, ":")
		if !slices.Contains(next.codes, translog.Code(code)) {
			next.codes = append(next.codes, translog.Code(code))
		}
	}
	if len(answers) != len(runs) {
		t.Fatalf("%d answers to %d bundles", len(answers), len(runs))
	}
	return answers
}

// TestSecondVerifierIsShort keeps it something that one can read.
func TestSecondVerifierIsShort(t *testing.T) {
	text, err := os.ReadFile(secondVerifier)
	if errors.Is(err, fs.ErrNotExist) || strings.Count(string(text), "\n") >= 500 {
		t.Errorf("%d lines, %v", strings.Count(string(text), "\n"), err)
	}
}
