package ssh

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// A packet reaches the peer whole, whatever its size is: that of one part, which
// has no rest, too.
func TestWireKeepsNothing(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	w := newWire(ours, newIntake())
	sizes := []int{1, part - 1, part, part + 1, part, 2 * part, part, part, 40_000, part}
	wrote := make(chan error, 1)
	go func() {
		for i, size := range sizes {
			if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	_ = theirs.SetReadDeadline(time.Now().Add(10 * time.Second))
	peer := newWire(theirs, newIntake())
	for i, size := range sizes {
		got := make([]byte, size)
		for n := 0; n < size; {
			more, err := peer.Read(got[n:])
			if err != nil {
				t.Fatalf("packet %d, after %d bytes: %v", i, n, err)
			}
			n += more
		}
		if !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, size)) {
			t.Fatalf("packet %d came with other bytes", i)
		}
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	if _, err := w.Write(make([]byte, part)); err != nil {
		t.Fatal(err) // it waits for its rest
	}
	if _, err := w.Write([]byte("rest")); err == nil {
		t.Error("a write to a peer that is gone succeeded")
	}
}
