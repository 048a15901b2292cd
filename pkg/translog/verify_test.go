package translog_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/translog"
)

func codes(report translog.Report) []translog.Code {
	found := []translog.Code{}
	for _, f := range report.Findings {
		if !slices.Contains(found, f.Code) {
			found = append(found, f.Code)
		}
	}
	slices.Sort(found)
	return found
}

func TestHonestBundlesVerify(t *testing.T) {
	for _, scope := range []translog.Scope{
		{Kind: translog.WholeLog}, {Kind: translog.Range, First: 1}, {Kind: translog.Range, First: 5}, {Kind: translog.OneSession, Session: session1},
	} {
		w := newWorld(t)
		w.scope = scope
		report := w.verify(t, w.bundle(t))
		for _, f := range report.Findings {
			t.Errorf("scope %+v: %s", scope, f)
		}
		if report.Size != 8 || report.Origin != origin || report.Batches == 0 {
			t.Errorf("scope %+v: got %+v", scope, report)
		}
	}
}

// replace changes text in a file, which must be there once at least.
func replace(t *testing.T, files fstest.MapFS, name, from, to string) {
	t.Helper()
	file := files[name]
	if file == nil || !bytes.Contains(file.Data, []byte(from)) {
		t.Fatalf("%s does not hold %q", name, from)
	}
	file.Data = bytes.Replace(file.Data, []byte(from), []byte(to), 1)
}

// entries changes the entries of a file of records, each of which has a line, a
// header and a body here.
func entries(t *testing.T, files fstest.MapFS, name string, change func([]string) []string) {
	t.Helper()
	var all []string
	lines := strings.SplitAfter(string(files[name].Data), "\n")
	for of := range slices.Chunk(lines[:len(lines)-1], 3) {
		all = append(all, strings.Join(of, ""))
	}
	files[name].Data = []byte(strings.Join(change(all), ""))
}

// hide reduces an entry to what is there of another session's.
func hide(entry string) string {
	return strings.Join(strings.Fields(entry)[:2], " ") + "\n"
}

func TestTamperingIsNamed(t *testing.T) {
	for _, c := range corpus() {
		t.Run(c.name, func(t *testing.T) {
			files, trust, kept := c.make(t)
			report, err := translog.Verify(files, trust, kept...)
			must(t, err)
			if diff := cmp.Diff(c.want, codes(report)); diff != "" {
				t.Errorf("codes (-want +got):\n%s", diff)
				for _, f := range report.Findings {
					t.Logf("%s", f)
				}
			}
		})
	}
}

// Every single byte of every record, flipped, is found, and the finding names
// the record.
func TestEveryFlippedByteNamesItsRecord(t *testing.T) {
	w := newWorld(t)
	files := w.bundle(t)
	const name = "records/1" // records 3 and 4
	honest := files[name].Data
	first := bytes.Index(honest, []byte("\n4 "))
	for i := range honest {
		altered := slices.Clone(honest)
		altered[i] ^= 1
		files[name] = &fstest.MapFile{Data: altered}
		want := int64(3)
		if i > first {
			want = 4
		}
		report := w.verify(t, files)
		if !slices.ContainsFunc(report.Findings, func(f translog.Finding) bool {
			return f.Index == 1 && f.Record == want && f.Code == translog.RecordAltered
		}) {
			t.Fatalf("byte %d (%q): record %d is not named in %v", i, honest[max(0, i-5):min(len(honest), i+5)], want, report.Findings)
		}
	}
}

func TestUselessTrustIsAnError(t *testing.T) {
	w := newWorld(t)
	files := w.bundle(t)
	for _, trust := range []translog.Trust{
		{}, {Log: "nonsense"}, {Log: w.log.public, Agents: []string{"x"}}, {Log: w.log.public, Agents: []string{w.one.public, w.one.public}},
	} {
		if _, err := translog.Verify(files, trust); err == nil {
			t.Errorf("trust %+v was taken", trust)
		}
	}
	delete(files, "bundle.json")
	if _, err := translog.Verify(files, w.trust()); err == nil {
		t.Error("a directory that is no bundle was verified")
	}
}
