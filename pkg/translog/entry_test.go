package translog_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// FuzzEntry: an entry that is taken is in the one form that an export has.
func FuzzEntry(f *testing.F) {
	w := newWorld(f)
	shredBody(&w.batches[0].Entries[1])
	for _, scope := range []translog.Scope{{Kind: translog.WholeLog}, {Kind: translog.OneSession, Session: session1}} {
		w.scope = scope
		for name, file := range w.bundle(f) {
			if strings.HasPrefix(name, "records/") {
				f.Add(file.Data)
			}
		}
	}
	zero := record.Hash{}.String()
	for _, text := range []string{
		" AAAAAAAAAAAAAAAAAAAAAA== 0 0\n\n\n", " AAAAAAAAAAAAAAAAAAAAAB== 0 0\n\n\n", " " + zero + " 3\n\n{}\n", "\n", " \n",
		" AAAAAAAAAAAAAAAAAAAAAA== 00 0\n\n\n", " AAAAAAAAAAAAAAAAAAAAAA== 18446744073709551615 0\n\n\n", "",
	} {
		f.Add([]byte("1 " + zero + text))
		f.Add([]byte("01 " + zero + text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if again, ok := translog.Form(text); ok && !bytes.Equal(again, text) {
			t.Fatalf("%q is read as %q", text, again)
		}
	})
}

// What stands between entries costs one finding and not those behind it, also
// where a header looks like entries.
func TestReadingGoesOnBehindWhatIsBroken(t *testing.T) {
	w := newWorld(t)
	w.add(w.two.batch(t, nil, opened("x"), opened("y"), opened("z")))
	data := w.bundle(t)["records/8"].Data
	second := bytes.Index(data, []byte("\n3 ")) + 1
	for name, c := range map[string]struct {
		altered       []byte
		whole, broken int
	}{
		"nothing":            {data, 3, 0},
		"a line more":        {bytes.Join([][]byte{data[:second], data[second:]}, []byte("nonsense\n")), 3, 1},
		"a length too large": {bytes.Replace(data, []byte("== "), []byte("== 1"), 1), 2, 1},
		"cut short":          {data[:len(data)-2], 2, 1},
	} {
		if whole, broken := translog.Resumes(c.altered); whole != c.whole || broken != c.broken {
			t.Errorf("%s: %d entries and %d broken ones", name, whole, broken)
		}
	}
}
