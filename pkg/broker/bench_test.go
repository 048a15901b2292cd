package broker

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// BenchmarkFirstByte measures, in rounds that take turns, how long a job waits
// from connect until the server's first byte: through one process that accepts
// and dials, and through two. split-µs is what the second one costs.
func BenchmarkFirstByte(b *testing.B) {
	n := newNode(b, func(conn net.Conn) { _, _ = conn.Write([]byte{1}) })
	halves, _, _ := n.broker(b, "proxy", "")
	var one, two []time.Duration
	for b.Loop() {
		one = append(one, n.round(b, n.relayAll)...)
		two = append(two, n.round(b, halves.Run)...)
	}
	b.ReportMetric(median(one), "one-µs")
	b.ReportMetric(median(two), "two-µs")
	b.ReportMetric(median(two)-median(one), "split-µs")
}

// round takes some times while serve serves.
func (n *node) round(b *testing.B, serve func(context.Context) error) []time.Duration {
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx) }()
	n.firstByte(b) // once it serves
	times := make([]time.Duration, 500)
	for i := range times {
		times[i] = n.firstByte(b)
	}
	stop()
	must(b, <-ended)
	return times
}

func (n *node) firstByte(b *testing.B) (took time.Duration) {
	must(b, n.job.Do(func() error {
		began := time.Now()
		conn, err := net.DialTimeout("tcp", n.server.String(), patience)
		if err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, 1))
		took = time.Since(began)
		_ = conn.(*net.TCPConn).SetLinger(0) // no port is left in TIME_WAIT
		_ = conn.Close()
		return err
	}))
	return took
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
	_, _ = io.Copy(a.Conn, server)
	_ = server.Close()
}

func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Nanoseconds()) / 1000
}
