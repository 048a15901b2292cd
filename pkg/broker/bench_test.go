package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// BenchmarkFirstByte measures, in rounds that take turns, how long a job waits
// from connect until the server's first byte: through one process that accepts
// and dials, and through two. split-µs is what the second one costs. floor-µs is
// what a bare packet with two descriptors takes from one process to another.
func BenchmarkFirstByte(b *testing.B) {
	n := newNode(b, nil)
	server := player("greeter", n.server.String())
	must(b, n.where.Start(server))
	b.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	must(b, n.where.Do(func() error {
		for {
			if conn, err := net.Dial("tcp", n.server.String()); err == nil {
				return conn.Close() // it listens
			}
		}
	}))
	halves, _, _ := n.broker(b, "proxy", "")
	var one, two, floor []time.Duration
	for b.Loop() {
		one = append(one, n.round(b, n.relayAll)...)
		two = append(two, n.round(b, halves.Run)...)
		floor = append(floor, handOvers(b)...)
	}
	b.ReportMetric(median(floor), "floor-µs")
	b.ReportMetric(median(one), "one-µs")
	b.ReportMetric(median(two), "two-µs")
	b.ReportMetric(median(two)-median(one), "split-µs")
}

// round takes some times while serve serves. Client and server are processes of
// their own, as they are on a node.
func (n *node) round(b *testing.B, serve func(context.Context) error) []time.Duration {
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx) }()
	client := player("dialler", n.server.String())
	var out bytes.Buffer
	client.Stdout = &out
	must(b, n.job.Start(client))
	must(b, client.Wait())
	stop()
	must(b, <-ended)
	times := make([]time.Duration, out.Len()/8)
	must(b, binary.Read(&out, binary.NativeEndian, times))
	return times
}

// playDialler measures from connect to the first byte, 500 times, and writes
// the times.
func playDialler(server string) error {
	times := make([]time.Duration, 501)
	for i := range times {
		began := time.Now()
		conn, err := net.DialTimeout("tcp", server, patience)
		if err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, 1))
		times[i] = time.Since(began)
		_ = conn.(*net.TCPConn).SetLinger(0) // no port is left in TIME_WAIT
		if err := errors.Join(err, conn.Close()); err != nil {
			return err
		}
	}
	return binary.Write(os.Stdout, binary.NativeEndian, times[1:]) // once it serves
}

// playGreeter writes a byte into each connection.
func playGreeter(at string) error {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = conn.Write([]byte{1})
		_ = conn.Close()
	}
}

// relayAll is playProxy without a broker.
func (n *node) relayAll(ctx context.Context) error {
	for {
		a, err := n.kernel.Accept(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go n.relay(ctx, a)
	}
}

func (n *node) relay(ctx context.Context, a *redirect.Accepted) {
	defer func() { _ = a.Conn.Close() }()
	fd, err := n.kernel.Socket(a.Origin.Destination.Addr())
	if err != nil {
		return
	}
	server, err := redirect.Connect(ctx, fd, a.Origin.Destination)
	if err != nil {
		return
	}
	if _, err := io.Copy(a.Conn, server); err == nil {
		_ = a.Conn.SetLinger(-1)
	}
	_ = server.Close()
}

func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Nanoseconds()) / 1000
}

// handOvers passes two descriptors to another process and back, again and again,
// with nothing around: system calls that block, on threads of their own. Half of
// the time is one way.
func handOvers(b *testing.B) []time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(b, err)
	theirs := os.NewFile(uintptr(fds[1]), "echo")
	cmd := player("echo")
	cmd.ExtraFiles = []*os.File{theirs}
	must(b, cmd.Start())
	must(b, theirs.Close())
	times := make([]time.Duration, 500)
	for i := range times {
		began := time.Now()
		must(b, unix.Sendmsg(fds[0], []byte{1}, unix.UnixRights(fds[0], fds[0]), nil, 0))
		must(b, receiveRights(fds[0]))
		times[i] = time.Since(began) / 2
		<-time.After(200 * time.Microsecond) // the other one sleeps, as a proxy does between connections
	}
	must(b, unix.Close(fds[0]))
	must(b, cmd.Wait())
	return times
}

// playEcho sends back what descriptors it gets.
func playEcho() error {
	runtime.LockOSThread()
	for {
		if err := receiveRights(Descriptor); err != nil {
			return nil // the other one has hung up
		}
		if err := unix.Sendmsg(Descriptor, []byte{1}, unix.UnixRights(Descriptor, Descriptor), nil, 0); err != nil {
			return err
		}
	}
}

func receiveRights(fd int) error {
	control := make([]byte, unix.CmsgSpace(8))
	n, controlled, _, _, err := unix.Recvmsg(fd, make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	passed, err := rights(control[:controlled])
	closeAll(passed)
	return err
}
