package spool_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/sluicegate/sluice/pkg/spool"
)

// Whatever a disk makes of a segment, Open returns, and what can be read is
// whole.
func FuzzOpenSegment(f *testing.F) {
	f.Add(uint16(64), []byte("x"))
	f.Add(uint16(64+12), []byte{0, 0, 0, 0, 1})
	f.Add(uint16(0), []byte("SLSPOOL2"))
	f.Fuzz(func(t *testing.T, offset uint16, litter []byte) {
		dir := t.TempDir()
		s := open(t, dir)
		fill(t, s, 0, 20)
		must(t, s.Close())
		file, err := os.OpenFile(segments(t, dir)[0], os.O_RDWR, 0)
		must(t, err)
		_, err = file.WriteAt(litter[:min(len(litter), segmentBytes)], int64(offset)%segmentBytes)
		must(t, err)
		must(t, file.Close())
		s, err = spool.Open(spool.Config{Dir: dir, Segment: segmentBytes, Limit: 16 * segmentBytes})
		must(t, err)
		last := -1
		for _, no := range numbers(t, s, 0) {
			if no <= last || no >= 20 {
				t.Fatalf("entry %d after %d", no, last)
			}
			last = no
		}
		// A tail of zeros is what a segment has that nothing was appended to.
		if last < 19 && len(s.Damage()) == 0 && len(bytes.Trim(litter, "\x00")) > 0 {
			t.Errorf("entries are gone and nothing is said")
		}
		must(t, s.Close())
	})
}
