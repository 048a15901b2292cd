package ssh

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// duplex is what a channel is to a stream.
type duplex struct {
	io.Reader
	io.Writer
}

func TestIntakeIsHeldWhileAStreamIsNotTaken(t *testing.T) {
	t.Parallel()
	const limit = slackBytes + streamBytes
	now := time.Now()
	in := newIntake()
	in.arrived(2 * limit)
	if !in.admits(now) {
		t.Error("a leg without channels is held")
	}
	from, feed := io.Pipe()
	s := in.stream(duplex{Reader: from})
	in.arrived(limit + 1)
	if in.admits(now.Add(time.Hour)) {
		t.Error("what nobody takes is not held")
	}

	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, s, 1)
		read <- err
	}()
	for { // until the reader waits
		in.mu.Lock()
		waits := s.waits
		in.mu.Unlock()
		if !waits.IsZero() {
			if in.admits(waits.Add(restful / 2)) {
				t.Error("a reader that has just come may still take what was there")
			}
			if !in.admits(waits.Add(restful)) {
				t.Error("a leg is held whose streams are all waited for")
			}
			break
		}
	}
	in.arrived(limit + 1)
	if _, err := feed.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if !in.admits(now) {
		t.Error("what was taken counts")
	}
	in.arrived(1)
	in.close()
	in.close()
	if err := in.admit(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed leg may be read: %v", err)
	}
}

func TestWhatComesAfterTheEndIsDropped(t *testing.T) {
	t.Parallel()
	in := newIntake()
	var pending bytes.Buffer
	s := in.stream(duplex{Reader: &pending})
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatal(n, err)
	}
	pending.Write(make([]byte, 1<<20))
	in.arrived(slackBytes + streamBytes + 1)
	if !in.admits(time.Now()) || pending.Len() > 0 {
		t.Errorf("%d bytes are kept", pending.Len())
	}
	in.forget(s)
	if len(in.streams) != 0 {
		t.Error("the stream is not forgotten")
	}
}
