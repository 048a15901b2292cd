package protocol_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// yes allows everything at once and keeps nothing.
type yes struct{}

func (yes) Begin(context.Context, *operation.Operation) (protocol.Exchange, error) {
	return yes{}, nil
}

func (yes) Decide(context.Context, func(protocol.Waiting)) (protocol.Decision, error) {
	return protocol.Decision{Effect: protocol.Allow}, nil
}

func (yes) DecideNow() (protocol.Decision, bool, error) {
	return protocol.Decision{Effect: protocol.Allow}, true, nil
}
func (yes) Record(protocol.Stream, time.Duration, []byte) error { return nil }
func (yes) Digested(protocol.Stream, time.Duration, []byte, func() string) error {
	return nil
}
func (yes) Done(protocol.Outcome) error                          { return nil }
func (yes) Finish(time.Duration, []byte, protocol.Outcome) error { return nil }

// TestPeers is no test: it is the process that BenchmarkPump starts, with the
// clients and the server of its sessions in it.
func TestPeers(t *testing.T) {
	address := os.Getenv("SLUICE_PUMP")
	if address == "" {
		return
	}
	var sessions, each int
	if _, err := fmt.Sscan(os.Getenv("SLUICE_PEERS"), &sessions, &each); err != nil {
		t.Fatal(err)
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintln(os.Stdout, server.Addr()) // for BenchmarkPump, which fails without it
	var asking sync.WaitGroup
	for range sessions {
		client, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		asking.Go(func() { asks(t, client, each) })
		conn, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go echoes(conn)
	}
	asking.Wait()
}

// echoes answers each line of a client.
func echoes(conn net.Conn) {
	line := make([]byte, len("hello\n"))
	for {
		if _, err := io.ReadFull(conn, line); err != nil {
			return
		}
		if _, err := conn.Write([]byte("last\n")); err != nil {
			return
		}
	}
}

// asks has n lines answered, one after the other.
func asks(t *testing.T, conn net.Conn, n int) {
	t.Helper()
	answer := make([]byte, len("last\n"))
	for range n {
		if _, err := conn.Write([]byte("hello\n")); err != nil {
			t.Error(err)
			return
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Error(err)
			return
		}
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkPump is a question and its answer through the pump: cpu-ns/op is
// what this process used for it. Run it with a fixed, large -benchtime, as
// 20000x: the start of sessions is in it.
func BenchmarkPump(b *testing.B) {
	for _, sessions := range []int{1, 8} {
		b.Run(fmt.Sprintf("c%d", sessions), func(b *testing.B) {
			loop, err := protocol.NewLoop()
			if err != nil {
				b.Fatal(err)
			}
			defer loop.Close()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			peers := exec.Command(os.Args[0], "-test.run=^TestPeers$")
			peers.Env = append(os.Environ(), "SLUICE_PUMP="+l.Addr().String(), fmt.Sprintf("SLUICE_PEERS=%d %d", sessions, b.N/sessions+1))
			said, err := peers.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			before := processorTime(b)
			if err := peers.Start(); err != nil {
				b.Fatal(err)
			}
			var server string
			if _, err := fmt.Fscanln(said, &server); err != nil {
				b.Fatal(err)
			}
			var serving sync.WaitGroup
			for range sessions {
				client, err := l.Accept()
				if err != nil {
					b.Fatal(err)
				}
				conn := &protocol.Conn{
					Client: client, Guard: yes{}, Log: zap.NewNop(), Loop: loop,
					Dial: func(context.Context) (net.Conn, error) { return net.Dial("tcp", server) },
				}
				serving.Go(func() { _ = protocol.NewPump(conn, &lines{}, 64<<10).Run(context.Background()) })
			}
			_, _ = io.Copy(io.Discard, said)
			if err := peers.Wait(); err != nil {
				b.Error(err)
			}
			serving.Wait()
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
