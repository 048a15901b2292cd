package spool_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/spool"
)

const segmentBytes = 16 << 10

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, Segment: segmentBytes, Limit: 16 * segmentBytes})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fill appends n entries that say their number.
func fill(t testing.TB, s *spool.Spool, from, n int) []spool.Position {
	t.Helper()
	var positions []spool.Position
	for i := from; i < from+n; i++ {
		position, err := s.Append(1, binary.BigEndian.AppendUint32(nil, uint32(i)), bytes.Repeat([]byte{'r'}, 100))
		must(t, err)
		positions = append(positions, position)
	}
	return positions
}

// numbers reads what fill appended.
func numbers(t testing.TB, s *spool.Spool, from spool.Position) []int {
	t.Helper()
	var got []int
	for {
		entry, ok, err := s.Read(from)
		must(t, err)
		if !ok {
			return got
		}
		if len(entry.Rest) != 100 || entry.Kind != 1 {
			t.Fatalf("entry %d came back as kind %d with %d bytes", entry.Position, entry.Kind, len(entry.Rest))
		}
		got = append(got, int(binary.BigEndian.Uint32(entry.Head)))
		from = entry.Next
	}
}

func wantNumbers(t testing.TB, got []int, from, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("got %d entries, want %d", len(got), n)
	}
	for i, no := range got {
		if no != from+i {
			t.Fatalf("entry %d is number %d", from+i, no)
		}
	}
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	must(t, err)
	return names
}

func TestEntriesSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 500)
	wantNumbers(t, numbers(t, s, 0), 0, 500)
	must(t, s.Close())
	s = open(t, dir)
	if len(s.Damage()) != 0 {
		t.Errorf("damage after a clean close: %+v", s.Damage())
	}
	fill(t, s, 500, 500)
	wantNumbers(t, numbers(t, s, 0), 0, 1000)
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := spool.Open(spool.Config{Dir: dir, Segment: segmentBytes, Limit: 16 * segmentBytes})
	if !errors.Is(err, spool.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
}

func TestFullSpoolRefusesAndKeepsAReserve(t *testing.T) {
	s := open(t, t.TempDir())
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = s.Append(1, make([]byte, 4), make([]byte, 100))
	}
	if !errors.Is(err, spool.ErrFull) || n < 1000 {
		t.Fatalf("after %d entries got %v", n, err)
	}
	for range 200 {
		_, err := s.AppendReserved(1, make([]byte, 4), make([]byte, 100))
		must(t, err)
	}
	if s.Bytes() > s.Limit() {
		t.Errorf("%d bytes of %d", s.Bytes(), s.Limit())
	}
	for err = nil; err == nil; {
		_, err = s.AppendReserved(1, make([]byte, 4), make([]byte, 100))
	}
	if !errors.Is(err, spool.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	must(t, s.Free(s.End()))
	if _, err := s.Append(1, make([]byte, 4), nil); err != nil {
		t.Errorf("after Free: %v", err)
	}
}

func TestFreeKeepsWhatIsNotFreed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	positions := fill(t, s, 0, 1000)
	must(t, s.Free(positions[700]))
	got := numbers(t, s, positions[700])
	wantNumbers(t, got, 700, 300)
	if n := len(segments(t, dir)); n > 6 {
		t.Errorf("%d segments are left", n)
	}
	must(t, s.Close())
	s = open(t, dir)
	if len(s.Damage()) != 0 {
		t.Errorf("freed segments are called damage: %+v", s.Damage())
	}
	wantNumbers(t, numbers(t, s, positions[700]), 700, 300)
}

func TestPositionsAreNeverUsedAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	last := spool.Position(0)
	for round := range 5 {
		for _, p := range fill(t, s, 0, 50) {
			if p <= last {
				t.Fatalf("round %d: position %d after %d", round, p, last)
			}
			last = p
		}
		must(t, s.Free(s.End()))
		must(t, s.Close())
		s = open(t, dir)
	}
}

func TestSyncIsSharedAndNeedsAnEntry(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Sync(s.End()); err == nil {
		t.Error("synced an entry that does not exist")
	}
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			for range 50 {
				p, err := s.Append(1, []byte{byte(i)}, nil)
				if err == nil {
					err = s.Sync(p)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
}

func TestStateIsReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	state, damage, err := s.State()
	must(t, err)
	if state != nil || damage != nil {
		t.Fatalf("a new spool has state %q, damage %v", state, damage)
	}
	must(t, s.SetState([]byte("one")))
	must(t, s.SetState([]byte("two")))
	state, _, err = s.State()
	must(t, err)
	if string(state) != "two" {
		t.Errorf("got %q", state)
	}
	flip(t, filepath.Join(dir, "state"), 1)
	state, damage, err = s.State()
	must(t, err)
	if state != nil || damage == nil || damage.Kind != spool.AlteredState {
		t.Errorf("got state %q, damage %+v", state, damage)
	}
}

func flip(t testing.TB, name string, offset int64) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	var b [1]byte
	_, err = file.ReadAt(b[:], offset)
	must(t, err)
	b[0] ^= 0x10
	_, err = file.WriteAt(b[:], offset)
	must(t, err)
	must(t, file.Close())
}

func TestDamageIsFoundAndTheRestKept(t *testing.T) {
	const size = 120 // an entry of fill: 16 + 4 + 100, a multiple of 8
	cases := []struct {
		name   string
		damage func(t *testing.T, dir string)
		kind   spool.DamageKind
		lost   int // entries; -1: a segment's worth
	}{
		{"flipped length", func(t *testing.T, dir string) { flip(t, segments(t, dir)[0], 64+10*size) }, spool.AlteredEntry, 1},
		{"flipped kind", func(t *testing.T, dir string) { flip(t, segments(t, dir)[0], 64+10*size+8) }, spool.AlteredEntry, 1},
		{"flipped checksum", func(t *testing.T, dir string) { flip(t, segments(t, dir)[0], 64+10*size+12) }, spool.AlteredEntry, 1},
		{"flipped head", func(t *testing.T, dir string) { flip(t, segments(t, dir)[0], 64+10*size+16) }, spool.AlteredEntry, 1},
		{"flipped rest", func(t *testing.T, dir string) { flip(t, segments(t, dir)[0], 64+10*size+50) }, spool.AlteredEntry, 1},
		{"flipped magic", func(t *testing.T, dir string) { flip(t, segments(t, dir)[1], 3) }, spool.AlteredSegment, -1},
		{"flipped seed", func(t *testing.T, dir string) { flip(t, segments(t, dir)[1], 13) }, spool.AlteredSegment, -1},
		{"missing middle", func(t *testing.T, dir string) { must(t, os.Remove(segments(t, dir)[1])) }, spool.MissingSegment, -1},
		{"cut file", func(t *testing.T, dir string) { must(t, os.Truncate(segments(t, dir)[1], 5000)) }, spool.AlteredSegment, -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			fill(t, s, 0, 400)
			must(t, s.Close())
			c.damage(t, dir)
			s = open(t, dir)
			if len(s.Damage()) != 1 || s.Damage()[0].Kind != c.kind {
				t.Errorf("got damage %+v, want one %s", s.Damage(), c.kind)
			}
			lost := 400 - len(numbers(t, s, 0))
			if c.lost >= 0 && lost != c.lost || c.lost < 0 && (lost < 100 || lost > 140) {
				t.Errorf("lost %d entries", lost)
			}
			fill(t, s, 400, 1)
		})
	}
}

func TestMissingNewestSegmentIsFound(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 400)
	must(t, s.Close())
	names := segments(t, dir)
	must(t, os.Remove(names[len(names)-1]))
	s = open(t, dir)
	if len(s.Damage()) != 1 || s.Damage()[0].Kind != spool.MissingSegment {
		t.Errorf("got damage %+v", s.Damage())
	}
}

// A process can die while it makes the next segment: the file is there, and its
// head is not.
func TestSegmentThatWasBeingMadeIsNoDamage(t *testing.T) {
	for _, before := range []int{0, 400} {
		dir := t.TempDir()
		s := open(t, dir)
		fill(t, s, 0, before)
		must(t, s.Close())
		names := segments(t, dir)
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%010d.seg", len(names)+1)), make([]byte, 1<<14), 0o600))
		s = open(t, dir)
		if len(s.Damage()) > 0 {
			t.Errorf("with %d segments before: damage %+v", len(names), s.Damage())
		}
		fill(t, s, before, 400)
		wantNumbers(t, numbers(t, s, 0), 0, before+400)
		must(t, s.Close())
	}
}

func TestTornTailIsReportedAndNothingElseLost(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 20)
	must(t, s.Close())
	// What a kill in the middle of the copy leaves: content without its head.
	file, err := os.OpenFile(segments(t, dir)[0], os.O_RDWR, 0)
	must(t, err)
	_, err = file.WriteAt(bytes.Repeat([]byte{'x'}, 40), 64+20*120+16)
	must(t, err)
	must(t, file.Close())
	s = open(t, dir)
	if len(s.Damage()) != 1 || s.Damage()[0].Kind != spool.TornTail {
		t.Errorf("got damage %+v", s.Damage())
	}
	wantNumbers(t, numbers(t, s, 0), 0, 20)
}

// An entry that carries the bytes of a whole entry must not become one when
// the entry around it is damaged.
func TestContentCannotPassForAnEntry(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 3)
	must(t, s.Close())
	raw, err := os.ReadFile(segments(t, dir)[0])
	must(t, err)
	forged := raw[64 : 64+120]
	s = open(t, dir)
	_, err = s.Append(1, []byte("headhead"), bytes.Repeat(forged, 20))
	must(t, err)
	must(t, s.Close())
	names := segments(t, dir)
	flip(t, names[len(names)-1], 64+12)
	s = open(t, dir)
	wantNumbers(t, numbers(t, s, 0), 0, 3)
}

func TestFaultOfTheMappingIsAnErrorForEver(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 0, 1)
	for _, name := range segments(t, dir) {
		must(t, os.Truncate(name, 0)) // every access is SIGBUS from here on
	}
	_, err := s.Append(1, []byte("x"), nil)
	if !errors.Is(err, spool.ErrFailed) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	if _, _, err := s.Read(0); err == nil {
		t.Error("read an entry that is not there")
	}
	if _, err := s.Append(1, []byte("x"), nil); !errors.Is(err, spool.ErrFailed) {
		t.Errorf("a failed spool took an entry: %v", err)
	}
}

func TestFullDiskIsErrFull(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", 6*segmentBytes)))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	s := open(t, filepath.Join(dir, "spool"))
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = s.Append(1, binary.BigEndian.AppendUint32(nil, uint32(n)), bytes.Repeat([]byte{'r'}, 100))
	}
	if !errors.Is(err, spool.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	n--
	wantNumbers(t, numbers(t, s, 0), 0, n)
	must(t, s.Free(s.End()))
	fill(t, s, n, 1)
}

func TestUselessConfigurationIsRefused(t *testing.T) {
	for _, cfg := range []spool.Config{
		{Segment: 100, Limit: 1 << 20}, {Segment: 4097, Limit: 1 << 20}, {Segment: 1 << 20, Limit: 2 << 20}, {},
	} {
		cfg.Dir = t.TempDir()
		if _, err := spool.Open(cfg); err == nil || !strings.Contains(err.Error(), "open spool") {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
}
