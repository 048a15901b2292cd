package translog_test

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// TestEveryChangedBitIsReported flips each bit of each file of an export,
// one at a time. Each is a finding, or the bundle is none any more. What is
// allowed to change is the time of the export in bundle.json: nobody signs it,
// and it only says from when on an agent's silence is long.
func TestEveryChangedBitIsReported(t *testing.T) {
	for _, scope := range []translog.Scope{{Kind: translog.WholeLog}, {Kind: translog.Range, First: 1}, {Kind: translog.OneSession, Session: session1}} {
		t.Run(string(scope.Kind), func(t *testing.T) {
			w := newSmallWorld(t)
			w.scope = scope
			files := w.bundle(t)
			if report := w.verify(t, files); !report.OK() {
				t.Fatal(report.Findings)
			}
			flipAll(t, files, w.trust())
		})
	}
}

// newSmallWorld has one of everything that a bundle can hold, because each bit
// costs a verification.
func newSmallWorld(t *testing.T) *world {
	t.Helper()
	w := &world{log: newSigner(t, origin), one: newAgent(t, "one"), two: newAgent(t, "two"), scope: translog.Scope{Kind: translog.WholeLog}}
	w.at, w.twoKey = time.UnixMilli(1_700_000_000_000), w.two.public
	w.fill(t)
	return w
}

func (w *world) fill(t *testing.T) {
	t.Helper()
	w.add(w.one.batch(t, nil, opened(session1), opened("other")))
	shredBody(&w.batches[0].Entries[0])
	w.add(w.one.batch(t, func(b *record.Batch) { w.seen(t)(b); b.Seal = true }, closed(session1, 2)))
	w.shred(t, translog.Span{Index: 0, First: 0, Last: 0})
}

func flipAll(t *testing.T, files fstest.MapFS, trust translog.Trust) {
	t.Helper()
	type place struct {
		name string
		at   int
		bit  int
	}
	var places []place
	n := 0
	for name, file := range files {
		for at := range file.Data {
			for bit := range 8 {
				if n++; n%stride == 0 {
					places = append(places, place{name, at, bit})
				}
			}
		}
	}
	var next atomic.Int64
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			own := fstest.MapFS{}
			for i := next.Add(1) - 1; i < int64(len(places)); i = next.Add(1) - 1 {
				p := places[i]
				for name, file := range files {
					own[name] = file
				}
				altered := slices.Clone(files[p.name].Data)
				altered[p.at] ^= 1 << p.bit
				own[p.name] = &fstest.MapFile{Data: altered, Mode: 0o600}
				report, err := translog.Verify(own, trust)
				if err != nil || !report.OK() || isExportTime(p.name, files[p.name].Data, p.at) {
					continue
				}
				t.Errorf("%s: bit %d of byte %d (%q) is not missed", p.name, p.bit, p.at, around(files[p.name].Data, p.at))
			}
		})
	}
	work.Wait()
	t.Logf("%d bits", len(places))
}

// isExportTime reports whether a byte is within the value of "exported".
func isExportTime(name string, data []byte, at int) bool {
	if name != "bundle.json" {
		return false
	}
	const key = `"exported":"`
	from := strings.Index(string(data), key) + len(key)
	return at >= from && at < from+strings.IndexByte(string(data[from:]), '"')
}

func around(data []byte, at int) []byte { return data[max(0, at-8):min(len(data), at+8)] }
