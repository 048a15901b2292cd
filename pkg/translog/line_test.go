package translog_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/translog"
)

// FuzzLine: a line is taken exactly when it is in the one form that an export
// has, and then it says what encoding/json reads.
func FuzzLine(f *testing.F) {
	w := newWorld(f)
	shredBody(&w.batches[0].Entries[1])
	for _, scope := range []translog.Scope{{Kind: translog.WholeLog}, {Kind: translog.OneSession, Session: session1}} {
		w.scope = scope
		for name, file := range w.bundle(f) {
			if strings.HasPrefix(name, "records/") {
				for l := range bytes.Lines(file.Data) {
					f.Add(l)
				}
			}
		}
	}
	const zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, text := range []string{`\u0001`, `\u001F`, `\u001f`, `\ud83d\ude00`, `\ufffd`, `\/`, `<`, `\u003c`, "\u2028", `\u2028`, "\xff", "\x7f", "é", `\b\f\n\r\t\"\\`, "", `\`, `"`} {
		f.Add([]byte(`{"no":1,"leaf":"` + zero + `","salt_header":"` + zero + `","salt_body":"` + zero + `","header":"` + text + `","body":""}` + "\n"))
	}
	f.Add([]byte(`{"no":01,"leaf":"` + zero + `"}` + "\n"))
	f.Add([]byte(`{"no":1,"leaf":"` + strings.Replace(zero, "A=", "B=", 1) + `"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		slow, isJSON := translog.SlowForm(text)
		fast, taken := translog.FastForm(text)
		if want := isJSON && bytes.Equal(slow, text); want != taken {
			t.Fatalf("taken: %v, want %v: %q", taken, want, text)
		}
		if taken && !bytes.Equal(fast, text) {
			t.Fatalf("%q is read as %q", text, fast)
		}
	})
}
