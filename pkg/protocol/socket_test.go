package protocol

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPair returns a socket and the plain connection at its other end.
func socketPair(t *testing.T) (ours *socket, peer net.Conn) {
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
	if ours, err = takeOver(accepted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(ours.fd), peer.Close() })
	return ours, peer
}

// await waits until the kernel has something for the socket.
func await(t *testing.T, s *socket, events int16) {
	t.Helper()
	ready := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
	if n, err := unix.Poll(ready, 10_000); n != 1 {
		t.Fatalf("the socket is not ready: %v", err)
	}
	s.more = true
}

func TestSocketTakesOnlySockets(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if _, err := takeOver(near); !errors.Is(err, errNoSocket) {
		t.Fatalf("a pipe gave %v", err)
	}
}

func TestSocketWritesMoreThanFitsAtOnce(t *testing.T) {
	ours, peer := socketPair(t)
	want := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20) // 16 MiB
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(peer)
		got <- all
	}()
	if err := ours.put(want); err != nil {
		t.Fatal(err)
	}
	for ours.queued() > 0 {
		await(t, ours, unix.POLLOUT)
		if err := ours.send(); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Shutdown(ours.fd, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("%d bytes came, not the %d that were written", len(all), len(want))
	}
}

func TestSocketReadsUntilTheEnd(t *testing.T) {
	ours, peer := socketPair(t)
	want := bytes.Repeat([]byte("x"), 3*maxTransfer+1)
	go func() {
		_, _ = peer.Write(want)
		_ = peer.Close()
	}()
	var got []byte
	buffer := make([]byte, 2*maxTransfer)
	for {
		n, err := ours.Read(buffer)
		got = append(got, buffer[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errAgain) {
			await(t, ours, unix.POLLIN)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came", len(got), len(want))
	}
}

func TestSocketDoesNotAskTwice(t *testing.T) {
	ours, peer := socketPair(t)
	if _, err := peer.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	await(t, ours, unix.POLLIN)
	if n, err := ours.Read(make([]byte, 16)); n != 3 || err != nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	if ours.more {
		t.Error("it would read again, and find nothing")
	}
	if _, err := ours.Read(make([]byte, 16)); !errors.Is(err, errAgain) {
		t.Errorf("read %v", err)
	}
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	ours, _ := socketPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := ours.shake(ctx, func(context.Context) error {
		_, err := ours.Read(make([]byte, 1))
		return err
	})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a handshake with a silent peer gave %v", err)
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
	await(t, ours, unix.POLLIN)
	if _, err := ours.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || errors.Is(err, errAgain) {
		t.Errorf("a reset was read as %v", err)
	}
	if err := ours.put([]byte("x")); err == nil {
		t.Error("a write to a peer that is gone succeeded")
	}
}

func TestSocketAllocatesNothing(t *testing.T) {
	ours, peer := socketPair(t)
	buffer := make([]byte, 2)
	allocated := testing.AllocsPerRun(100, func() {
		if _, err := peer.Write(buffer[:1]); err != nil {
			t.Fatal(err)
		}
		ours.more = true
		for n := 0; n == 0; n, _ = ours.Read(buffer) {
			ours.more = true
		}
		if err := ours.put(buffer[:1]); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Read(buffer[:1]); err != nil {
			t.Fatal(err)
		}
	})
	if allocated > 0 {
		t.Errorf("%v allocations for a read and a write", allocated)
	}
}
