package spool_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"testing"

	"github.com/sluicegate/sluice/pkg/spool"
)

// TestKillLosesNoAppendedEntry runs this test again as a child that appends
// for ever and reports each entry after its Append, and kills it.
func TestKillLosesNoAppendedEntry(t *testing.T) {
	if dir := os.Getenv("SPOOL_TEST_DIR"); dir != "" {
		appendForEver(dir)
		return
	}
	for round := range 5 {
		dir := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^TestKillLosesNoAppendedEntry$")
		child.Env = append(os.Environ(), "SPOOL_TEST_DIR="+dir)
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		reported := make([]byte, 4*1000*(round+1)) // that many entries, then the kill
		for n := 0; n < len(reported); {
			m, err := out.Read(reported[n:])
			must(t, err)
			n += m
		}
		must(t, child.Process.Kill())
		rest := new(bytes.Buffer)
		_, err = rest.ReadFrom(out)
		must(t, err)
		_ = child.Wait() // killed
		appended := (len(reported) + rest.Len()) / 4
		s := open(t, dir)
		got := numbers(t, s, 0)
		if len(got) < appended {
			t.Fatalf("the child appended %d entries and %d are there", appended, len(got))
		}
		wantNumbers(t, got, 0, len(got))
		for _, d := range s.Damage() {
			if d.Kind != spool.TornTail {
				t.Errorf("damage %+v", d)
			}
		}
	}
}

func appendForEver(dir string) {
	s, err := spool.Open(spool.Config{Dir: dir, Segment: 1 << 20, Limit: 1 << 30})
	if err != nil {
		panic(err)
	}
	for i := uint32(0); ; i++ {
		no := binary.BigEndian.AppendUint32(nil, i)
		if _, err := s.Append(1, no, bytes.Repeat([]byte{'r'}, 100)); err != nil {
			panic(err)
		}
		if _, err := os.Stdout.Write(no); err != nil {
			panic(err)
		}
	}
}
