package translog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/translog"
)

// mutilated is an export on disk, after somebody has worked on it.
type mutilated struct {
	name   string
	change func(t *testing.T, dir string)
}

// edits are what can be done to the bytes of one file. Those that change nothing
// of some file are not tried with it.
var edits = map[string]func(data []byte) []byte{
	"empty":           func([]byte) []byte { return nil },
	"cut":             func(data []byte) []byte { return data[:len(data)/2] },
	"without its end": func(data []byte) []byte { return bytes.TrimSuffix(data, []byte("\n")) },
	"with more":       func(data []byte) []byte { return append(slices.Clone(data), '\n') },
	"twice":           func(data []byte) []byte { return append(slices.Clone(data), data...) },
	"CRLF":            func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")) },
	"upper case":      bytes.ToUpper,
	"a mark ahead":    func(data []byte) []byte { return append([]byte("\ufeff"), data...) },
	"NUL":             func(data []byte) []byte { return append(slices.Clone(data), 0) },
	"no UTF-8":        func(data []byte) []byte { return append([]byte{0xff}, data...) },
	"other spaces":    func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("\n"), []byte("\v")) },
	"first line gone": func(data []byte) []byte { _, rest, _ := bytes.Cut(data, []byte("\n")); return rest },
	"lines swapped": func(data []byte) []byte {
		lines := bytes.SplitAfter(data, []byte("\n"))
		slices.Reverse(lines)
		return bytes.Join(lines, nil)
	},
	"huge numbers": func(data []byte) []byte { return digits(data, strings.Repeat("9", 5000)) },
	"nineteen":     func(data []byte) []byte { return digits(data, "9999999999999999999") },
	"a key twice":  func(data []byte) []byte { return bytes.Replace(data, []byte("{"), []byte(`{"format":"x",`), 1) },
	"half a pair":  func(data []byte) []byte { return bytes.Replace(data, []byte(`:"`), []byte(`:"\ud800`), 2) },
	"deep":         func(data []byte) []byte { return bytes.Replace(data, []byte("{"), bytes.Repeat([]byte("["), 1<<20), 1) },
	"no such day":  func(data []byte) []byte { return bytes.Replace(data, []byte("-11-"), []byte("-99-"), 1) },
}

// digits replaces the first number that is a word of its own.
func digits(data []byte, by string) []byte {
	words := bytes.SplitAfter(data, []byte(" "))
	for i, word := range words {
		if number := bytes.TrimRight(word, " \n"); len(number) > 0 && len(bytes.Trim(number, "0123456789")) == 0 {
			words[i] = append([]byte(by), word[len(number):]...)
			return bytes.Join(words, nil)
		}
		if at := bytes.IndexByte(word, '\n'); i == 0 && at > 0 && len(bytes.Trim(word[:at], "0123456789")) == 0 {
			return append([]byte(by), data[at:]...)
		}
	}
	return data
}

// moves are what can be done to a file as such.
var moves = map[string]func(t *testing.T, path string){
	"gone": func(t *testing.T, path string) { must(t, os.Remove(path)) },
	"a link": func(t *testing.T, path string) {
		must(t, os.Rename(path, filepath.Join(t.TempDir(), "elsewhere")))
		must(t, os.Symlink("/dev/zero", path))
	},
	"a link to what it was": func(t *testing.T, path string) {
		elsewhere := filepath.Join(t.TempDir(), "elsewhere")
		must(t, os.Rename(path, elsewhere))
		must(t, os.Symlink(elsewhere, path))
	},
	"a pipe":      func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, unix.Mkfifo(path, 0o600)) },
	"a directory": func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
	"a terabyte":  func(t *testing.T, path string) { must(t, os.Truncate(path, 1<<40)) },
	"under an odd name too": func(t *testing.T, path string) {
		data, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path+"\x1b[2J\nall holds\xff", data, 0o600))
	},
	"ahead of a zero": func(t *testing.T, path string) {
		data, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(filepath.Dir(path), "0"+filepath.Base(path)), data, 0o600))
	},
}

// mutilations are all edits and moves of all files of an export, and exchanges of
// two files of one folder.
func mutilations(files fstest.MapFS) (all []mutilated) {
	for name, file := range files {
		for kind, edit := range edits {
			if data := edit(slices.Clone(file.Data)); !bytes.Equal(data, file.Data) {
				all = append(all, mutilated{name + ": " + kind, func(t *testing.T, dir string) {
					must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
				}})
			}
		}
		for kind, move := range moves {
			all = append(all, mutilated{name + ": " + kind, func(t *testing.T, dir string) { move(t, filepath.Join(dir, name)) }})
		}
		if dir := filepath.Dir(name); dir != "." {
			all = append(all, mutilated{dir + ": a link, by " + name, func(t *testing.T, bundle string) {
				elsewhere := filepath.Join(t.TempDir(), "elsewhere")
				must(t, os.Rename(filepath.Join(bundle, dir), elsewhere))
				must(t, os.Symlink(elsewhere, filepath.Join(bundle, dir)))
			}})
		}
		for other := range files {
			if name < other && filepath.Dir(name) == filepath.Dir(other) {
				all = append(all, mutilated{name + " and " + other + ": exchanged", func(t *testing.T, dir string) {
					must(t, os.WriteFile(filepath.Join(dir, name), files[other].Data, 0o600))
					must(t, os.WriteFile(filepath.Join(dir, other), file.Data, 0o600))
				}})
			}
		}
	}
	return all
}

// TestMutilatedExportHoldsForNobody does to each file of an export what an editor,
// a transport or an attacker may. Both verifiers must say that something is wrong,
// in lines that nobody else wrote, soon and in little memory.
func TestMutilatedExportHoldsForNobody(t *testing.T) {
	for _, scope := range []translog.Scope{{Kind: translog.WholeLog}, {Kind: translog.OneSession, Session: session1}} {
		t.Run(string(scope.Kind), func(t *testing.T) {
			w := newSmallWorld(t)
			w.scope = scope
			files := w.bundle(t)
			trust, err := json.Marshal(w.trust())
			must(t, err)
			trustFile := filepath.Join(t.TempDir(), "trust.json")
			must(t, os.WriteFile(trustFile, trust, 0o600))
			all := append(mutilations(files), mutilated{"nothing", func(*testing.T, string) {}})
			var runs [][]string
			for _, m := range all {
				dir := t.TempDir()
				must(t, os.CopyFS(dir, files))
				m.change(t, dir)
				runs = append(runs, []string{trustFile, dir})
				began := time.Now()
				report, err := translog.Verify(os.DirFS(dir), w.trust())
				if held := err == nil && report.OK(); held != (m.name == "nothing") {
					t.Errorf("%s: the first verifier says that it holds: %v, %v", m.name, held, err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("%s: the first verifier took %v", m.name, took)
				}
			}
			for i, said := range bounded(t, runs) {
				held := said == "status 0"
				findings := strings.HasSuffix(said, "\nstatus 1") || said == "status 2"
				if all[i].name == "nothing" && !held || all[i].name != "nothing" && !findings || strings.Contains(said, "\x1b") || !utf8.ValidString(said) || strings.Contains(said, "\nall holds") {
					t.Errorf("%s: the second verifier says %.300q", all[i].name, said)
				}
			}
			t.Logf("%d mutilations", len(all))
		})
	}
}

// bounded runs the second verifier over many bundles, with a gigabyte of memory, and
// returns what it says of each. What it does not catch it does not say.
func bounded(t *testing.T, runs [][]string) (said []string) {
	t.Helper()
	const driver = `
import importlib.util, json, resource, signal, sys, traceback
spec = importlib.util.spec_from_file_location("verify", sys.argv[1])
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
class Late(BaseException): pass
def late(*_): raise Late
signal.signal(signal.SIGALRM, late)
for arguments in json.load(sys.stdin):
    signal.alarm(5)
    try:
        print("status", verify.main(*arguments), flush=True)
    except BaseException:
        print("crash", traceback.format_exc()[-200:].replace("\n", " "), flush=True)
    signal.alarm(0)
    print("--next--", flush=True)
`
	encoded, err := json.Marshal(runs)
	must(t, err)
	cmd := exec.Command("python3", "-c", driver, secondVerifier)
	cmd.Stdin = bytes.NewReader(encoded)
	out, err := cmd.Output()
	must(t, err)
	said = strings.Split(strings.TrimSuffix(string(out), "\n--next--\n"), "\n--next--\n")
	if len(said) != len(runs) {
		t.Fatal(fmt.Errorf("%d answers to %d bundles", len(said), len(runs)))
	}
	return said
}
