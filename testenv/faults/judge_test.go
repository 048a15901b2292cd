package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// load is a job that asks the database without end, each time with a number of
// its own, and connects again whenever it is cut off.
type load struct {
	job  *exec.Cmd
	stop string // file whose existence ends it
}

const scripts = `\set n random(100000000000, 999999999999999)
SELECT :n AS fault;
INSERT INTO load VALUES (:n);
`

// startLoad runs the job and waits until it is under way. Large statements fill
// the spool quickly.
func startLoad(t *testing.T, large bool) *load {
	t.Helper()
	dir := t.TempDir()
	script := scripts
	if large {
		script += "SELECT length('" + strings.Repeat("x", 200_000) + "');\n"
	}
	must(t, os.Chmod(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "load.sql"), []byte(script), 0o644))
	l := &load{stop: filepath.Join(dir, "stop")}
	l.job = labCommand("job", "--env", "PGUSER=app", "--env", "PGCONNECT_TIMEOUT=3", "--", "sh", "-c",
		"while [ ! -e "+l.stop+" ]; do timeout 20 pgbench -h pg.lab -n -f "+filepath.Join(dir, "load.sql")+" -c 3 -R 60 -T 5 shop; sleep 0.1; done")
	must(t, l.job.Start())
	t.Cleanup(func() { l.end(t) })
	from := len(serverLog(t))
	eventually(t, "the load is under way", func() bool { return len(served(serverLog(t)[from:])) > 20 })
	return l
}

// end lets the job finish what it is at.
func (l *load) end(t *testing.T) {
	t.Helper()
	if l.job == nil {
		return
	}
	must(t, os.WriteFile(l.stop, nil, 0o600))
	_ = l.job.Wait() // pgbench reports broken connections by its status
	l.job = nil
}

func serverLog(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(file("postgres.log"))
	must(t, err)
	return text
}

var (
	inServerLog = regexp.MustCompile(`statement: (?:SELECT |INSERT INTO load VALUES \()(\d{12,15})\b`)
	inRecord    = regexp.MustCompile(`(SELECT |INSERT INTO load VALUES \()(\d{12,15})\b`)
)

// served returns the statements that reached the database, by their text.
func served(log []byte) map[string]int {
	found := map[string]int{}
	for _, m := range inServerLog.FindAllSubmatch(log, -1) {
		found[string(bytes.TrimPrefix(m[0], []byte("statement: ")))]++
	}
	return found
}

// recorded returns the statements that have an intent in a bundle.
func recorded(t *testing.T, bundle string) map[string]int {
	t.Helper()
	found := map[string]int{}
	names, err := filepath.Glob(filepath.Join(bundle, "records", "*"))
	must(t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		must(t, err)
		intent := false // its body is on the line behind its header
		for line := range bytes.Lines(text) {
			if !intent {
				intent = bytes.Contains(line, []byte(`"type":"operation.intent"`))
				continue
			}
			intent = false
			if m := inRecord.FindSubmatch(line); m != nil {
				found[string(m[0])]++
			}
		}
	}
	return found
}

// judgement is what became of a fault.
type judgement struct {
	served, missing, doubled int
	codes                    []string // of verification
}

// judge waits until every statement that reached the database since has its
// record, and verifies the whole log.
func judge(t *testing.T, since time.Time, log []byte) judgement {
	t.Helper()
	want := served(log)
	j := judgement{served: len(want)}
	bundle := filepath.Join(t.TempDir(), "bundle")
	deadline := time.Now().Add(2 * time.Minute)
	for {
		must(t, os.RemoveAll(bundle))
		j.missing, j.doubled = 0, 0
		if r := run("ctl", "export", "--since", since.UTC().Format(time.RFC3339), "-o", bundle); r.err == nil {
			got := recorded(t, bundle)
			for statement, n := range want {
				if got[statement] < n {
					j.missing++
				}
				if got[statement] > n {
					j.doubled++
				}
			}
			if j.missing == 0 {
				break
			}
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(500 * time.Millisecond) // between two exports
	}
	j.codes = verify(t)
	return j
}

// verify returns the codes of what does not hold in the whole log, each once.
func verify(t *testing.T) []string {
	t.Helper()
	r := run("ctl", "--json", "verify")
	var report struct{ Findings []struct{ Code string } }
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("verify: %v: %s", err, r.all)
	}
	codes := []string{}
	for _, f := range report.Findings {
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	slices.Sort(codes)
	return codes
}

// grown waits until the log has some more leaves, and the agent knows of them.
func grown(t *testing.T) {
	t.Helper()
	size := func() (n int64) {
		r := run("ctl", "--json", "verify")
		var report struct{ Size int64 }
		if err := json.Unmarshal([]byte(r.out), &report); err != nil {
			t.Fatalf("verify: %v: %s", err, r.all)
		}
		return report.Size
	}
	before := size()
	eventually(t, "the log grows", func() bool { return size() >= before+10 })
	time.Sleep(time.Second) // a receipt is on its way
}

// armed ends a program at a place, once, when it next gets there.
func armed(t *testing.T, place string) (fired func() bool) {
	t.Helper()
	name := filepath.Join(lab.faults, place)
	must(t, os.WriteFile(name, nil, 0o666))
	return func() bool {
		_, err := os.Stat(name + ".fired")
		return !errors.Is(err, fs.ErrNotExist)
	}
}
