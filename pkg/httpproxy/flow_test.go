package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

// counter is a guard that allows all and keeps no more than how much was
// recorded.
type counter struct {
	protocol.Exchange // nil: what it lacks is not called
	sent, answered    *atomic.Int64
}

func (c *counter) Begin(context.Context, *operation.Operation) (protocol.Exchange, error) {
	return c, nil
}

func (c *counter) DecideNow() (protocol.Decision, bool, error) {
	return protocol.Decision{Effect: protocol.Allow}, true, nil
}

func (c *counter) Record(stream protocol.Stream, _ time.Duration, chunk []byte) error {
	if stream == protocol.Response {
		c.answered.Add(int64(len(chunk)))
	}
	return nil
}

func (c *counter) Digested(_ protocol.Stream, _ time.Duration, chunk []byte, _ func() string) error {
	c.sent.Add(int64(len(chunk)))
	return nil
}

func (c *counter) Done(protocol.Outcome) error                          { return nil }
func (c *counter) Finish(time.Duration, []byte, protocol.Outcome) error { return nil }

// heap is the most that the heap grows while something happens, in bytes.
func heap(during func()) (most uint64) {
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		during()
	}()
	for {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapInuse-min(now.HeapInuse, before.HeapInuse))
		select {
		case <-done:
			return most
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestBodiesOfAnyLengthTakeLittleMemory both ways, at both legs.
func TestBodiesOfAnyLengthTakeLittleMemory(t *testing.T) {
	const size = 256 << 20
	both(t, func(t *testing.T, http2 bool) {
		guard := &counter{sent: new(atomic.Int64), answered: new(atomic.Int64)}
		r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
			if n, err := io.Copy(io.Discard, r.Body); err != nil || n != size {
				t.Errorf("the server got %d bytes: %v", n, err)
			}
			piece := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
			for range size / len(piece) {
				_, _ = w.Write(piece)
			}
		}).streams()
		r.login = true
		r.conn = func(c *protocol.Conn) {
			c.Guard = guard
			c.Credential = protocol.Credential{User: "agent", Token: "a-token-of-the-agents-own"}
		}
		client := r.client(t, http2)
		length := int64(size)
		if http2 {
			length = -1
		}
		most := heap(func() {
			request, err := http.NewRequestWithContext(t.Context(), "POST", "https://server.example/file", io.NopCloser(&halfway{size, func() error { return io.EOF }}))
			if err != nil {
				t.Error(err)
				return
			}
			request.ContentLength = length
			answer, err := client.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			if n, err := io.Copy(io.Discard, answer.Body); err != nil || n != size {
				t.Errorf("the client got %d bytes: %v", n, err)
			}
		})
		if most > 64<<20 {
			t.Errorf("the heap grew to %d MiB", most>>20)
		}
		t.Logf("the heap grew to %d MiB", most>>20)
		if sent, answered := guard.sent.Load(), guard.answered.Load(); sent != size || answered < size {
			t.Errorf("%d and %d bytes were recorded", sent, answered)
		}
	})
}

// TestAnswerMayComeWhileTheBodyDoes at its beginning, and then nobody needs the
// rest of it, or piece by piece.
func TestAnswerMayComeWhileTheBodyDoes(t *testing.T) {
	const size = 64 << 20
	both(t, func(t *testing.T, http2 bool) {
		for _, length := range []int64{size, -1} {
			for name, test := range map[string]struct {
				serve func(net.Conn, *http.Request)
				want  string
			}{
				"and closes": {func(conn net.Conn, _ *http.Request) {
					_, _ = io.WriteString(conn, "HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
					_, _ = io.Copy(io.Discard, conn) // what it closes with something unread in it takes its answer away
				}, "409 no"},
				"and reads on": {func(conn net.Conn, r *http.Request) {
					_, _ = io.WriteString(conn, "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno")
					_, _ = io.Copy(io.Discard, r.Body)
				}, "409 no"},
				"and stays": {func(conn net.Conn, _ *http.Request) {
					_, _ = io.WriteString(conn, "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno")
					<-t.Context().Done()
				}, "409 no"},
				"without words": {func(conn net.Conn, _ *http.Request) {
					_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
					<-t.Context().Done()
				}, "204 "},
			} {
				r := rawRig(t, func(conn net.Conn, in *bufio.Reader) {
					if request, err := http.ReadRequest(in); err == nil {
						test.serve(conn, request)
					}
				}).streams()
				status, text, err := sendBody(t, r.client(t, http2), "POST", &halfway{size, func() error { return io.EOF }}, length)
				if got := fmt.Sprint(status, " ", text); err != nil || got != test.want {
					t.Errorf("%s: %q %v", name, got, err)
				}
				if !r.journal.Await(func(all []protocoltest.Entry) bool { return all[0].Ended }) {
					t.Fatal("it does not end")
				}
				if e := r.journal.Requests()[0]; !strings.HasSuffix(e.Outcome.Tag, ", cut off") || len(e.Streams[protocol.Input]) >= size {
					t.Errorf("%s: %+v", name, e.Outcome)
				}
			}
			echo := newRig(t, func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).EnableFullDuplex()
				_, _ = io.Copy(w, r.Body)
			}).streams()
			sum := sha256.New()
			_, text, err := sendBody(t, echo.client(t, http2), "POST", io.TeeReader(&halfway{size / 8, func() error { return io.EOF }}, sum), min(length, size/8))
			if err != nil || fmt.Sprintf("%x", sha256.Sum256([]byte(text))) != fmt.Sprintf("%x", sum.Sum(nil)) {
				t.Errorf("an echo of %d bytes: %v", len(text), err)
			}
		}
	})
}

// TestServerThatLeavesInABodyEndsItsRequest and is not asked again.
func TestServerThatLeavesInABodyEndsItsRequest(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		for _, length := range []int64{64 << 20, -1} {
			r := rawRig(t, func(conn net.Conn, in *bufio.Reader) {
				if request, err := http.ReadRequest(in); err == nil {
					_, _ = io.CopyN(io.Discard, request.Body, 1<<20)
				}
			}).streams()
			status, _, err := sendBody(t, r.client(t, http2), "POST", &halfway{64 << 20, func() error { return io.EOF }}, length)
			if err != nil || status != 503 {
				t.Errorf("%d %v", status, err)
			}
			if e := r.journal.Requests()[0]; e.Outcome.Status != protocol.Failed || !strings.HasSuffix(e.Outcome.Tag, ", cut off") {
				t.Errorf("%+v", e.Outcome)
			}
			if n := r.dials.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		}
	})
}

// TestSecretIsHiddenAnywhereInALargeAnswer where it stands across pieces.
func TestSecretIsHiddenAnywhereInALargeAnswer(t *testing.T) {
	const token, size = "a-token-of-the-agents-own", 8 << 20
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
			noise := strings.Repeat("x", 997)
			for n := 0; n < size; n += len(noise) + len(token) {
				_, _ = io.WriteString(w, noise+token)
			}
		})
		r.login = true
		r.conn = func(c *protocol.Conn) { c.Credential = protocol.Credential{User: "agent", Token: token} }
		status, _, text, err := do(t, r.client(t, http2), "GET", "/", "")
		if err != nil || status != 200 || strings.Contains(text, token) || strings.Count(text, strings.Repeat("*", len(token))) < size/1024 {
			t.Errorf("%d, %d bytes, %v", status, len(text), err)
		}
	})
}
