package protocol

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// socketPair returns a socket and the plain connection at its other end.
func socketPair(t *testing.T) (ours, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if peer, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours = direct(accepted)
	if _, ok := ours.(*socket); !ok {
		t.Fatalf("a TCP connection became a %T", ours)
	}
	t.Cleanup(func() { _, _ = ours.Close(), peer.Close() })
	return ours, peer
}

func TestSocketWritesMoreThanFitsAtOnce(t *testing.T) {
	ours, peer := socketPair(t)
	want := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20) // 16 MiB
	written := make(chan error, 1)
	go func() {
		n, err := ours.Write(want)
		if err == nil && n != len(want) {
			err = io.ErrShortWrite
		}
		written <- errors.Join(err, ours.Close())
	}()
	got, err := io.ReadAll(peer)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, not the %d that were written", len(got), len(want))
	}
}

func TestSocketReadsUntilTheEnd(t *testing.T) {
	ours, peer := socketPair(t)
	want := bytes.Repeat([]byte("x"), 3*maxTransfer+1)
	go func() {
		_, _ = peer.Write(want)
		_ = peer.Close()
	}()
	got, err := io.ReadAll(ours)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came: %v", len(got), len(want), err)
	}
}

func TestSocketObeysDeadlines(t *testing.T) {
	ours, _ := socketPair(t)
	time.AfterFunc(10*time.Millisecond, func() { _ = ours.SetDeadline(time.Now()) })
	n, err := ours.Read(make([]byte, 1))
	var timeout net.Error
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read %d bytes, %v, after the deadline", n, err)
	}
	if n, err := ours.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wrote %d bytes, %v, after the deadline", n, err)
	}
}

func TestSocketReportsAPeerThatIsGone(t *testing.T) {
	ours, peer := socketPair(t)
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := peer.Close(); err != nil { // sends a reset
		t.Fatal(err)
	}
	if _, err := ours.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a reset was read as %v", err)
	}
	if _, err := ours.Write([]byte("x")); err == nil {
		t.Error("a write to a peer that is gone succeeded")
	}
}

func TestSocketAllocatesNothing(t *testing.T) {
	ours, peer := socketPair(t)
	buffer := make([]byte, 1)
	allocated := testing.AllocsPerRun(100, func() {
		if _, err := peer.Write(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Read(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Write(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Read(buffer); err != nil {
			t.Fatal(err)
		}
	})
	if allocated > 0 {
		t.Errorf("%v allocations for a read and a write", allocated)
	}
}
