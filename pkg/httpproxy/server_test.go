package httpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

// TestAnswerToNothingIsTakenForNone has a server say more than it was asked for:
// in the same write, in the next record of TLS, and while nobody asks. The next
// request must get its own answer.
func TestAnswerToNothingIsTakenForNone(t *testing.T) {
	const answer, poison = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for name, say := range map[string]func(conn net.Conn){
		"behind it":         func(conn net.Conn) { _, _ = io.WriteString(conn, answer+poison) },
		"half of it behind": func(conn net.Conn) { _, _ = io.WriteString(conn, answer+poison[:20]) },
		"in the next record": func(conn net.Conn) {
			raw, err := conn.(*tls.Conn).NetConn().(*net.TCPConn).SyscallConn()
			cork := func(on int) {
				_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, on) })
			}
			if err != nil {
				return
			}
			cork(1)
			_, _ = io.WriteString(conn, answer)
			_, _ = io.WriteString(conn, poison)
			cork(0)
		},
		"a header in answer to HEAD": func(conn net.Conn) { _, _ = io.WriteString(conn, answer+"\r\n\r\n") },
		"an end":                     func(conn net.Conn) { _, _ = io.WriteString(conn, answer); _ = conn.Close() },
		"an end without a word": func(conn net.Conn) {
			_, _ = io.WriteString(conn, answer)
			_ = conn.(*tls.Conn).NetConn().Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			said := make(chan struct{}, 3)
			r := rawRig(t, func(conn net.Conn, in *bufio.Reader) {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				say(conn)
				said <- struct{}{}
				_, _ = io.Copy(io.Discard, in) // it never answers a second one
			})
			client := r.client(t, false)
			for range 3 {
				if status, _, text, err := do(t, client, "POST", "/", "x"); err != nil || status != 200 || text != "ok" {
					t.Fatalf("%d %q %v", status, text, err)
				}
				<-said // and all has come
			}
			if n := r.dials.Load(); n != 3 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestAnswersMayComeByteByByte is for both legs: each byte is a record of its own.
func TestAnswersMayComeByteByByte(t *testing.T) {
	for name, answer := range map[string]string{
		"a length":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"chunks":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
		"hints":     "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"no length": "HTTP/1.0 200 OK\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			r := rawRig(t, func(conn net.Conn, in *bufio.Reader) {
				for {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					for i := range len(answer) {
						_, _ = io.WriteString(conn, answer[i:i+1])
					}
					if name == "no length" {
						return
					}
				}
			})
			conn := r.secure(t, "http/1.1")
			in := bufio.NewReader(conn)
			for range 3 {
				for _, b := range []byte("GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n") {
					_, _ = conn.Write([]byte{b})
				}
				got, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				if body, err := io.ReadAll(got.Body); err != nil || string(body) != "ok" || got.StatusCode != 200 || got.Body.Close() != nil {
					t.Errorf("%s %q %v", got.Status, body, err)
				}
			}
			if n := r.dials.Load(); (n == 1) == (name == "no length") {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestServerThatNeverAnswersIsLeftWithItsClient has one that reads nothing of a
// long body, either.
func TestServerThatNeverAnswersIsLeftWithItsClient(t *testing.T) {
	for name, body := range map[string]string{"a short request": "x", "a long one": strings.Repeat("x", 3<<20)} {
		both(t, func(t *testing.T, http2 bool) {
			asked, read, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
			r := rawRig(t, func(_ net.Conn, in *bufio.Reader) {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				close(asked)
				<-read
				_, _ = io.Copy(io.Discard, in)
				close(left)
			})
			ctx, leave := context.WithCancel(t.Context())
			request, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://server.example/", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			go func() { <-asked; leave() }()
			if answer, err := r.client(t, http2).Do(request); err == nil {
				_ = answer.Body.Close()
				t.Errorf("%s was answered", name)
			}
			if !r.journal.Await(func(all []protocoltest.Entry) bool {
				return len(all) == 1 && all[0].Outcome.Status == protocol.Abandoned
			}) {
				t.Errorf("%s: %+v", name, r.journal.Requests())
			}
			close(read)
			select {
			case <-left:
			case <-time.After(soon):
				t.Errorf("%s: the server waits on", name)
			}
		})
	}
}

// TestStreamThatBreaksOffIsNoWholeRequest has a client's stream fail in its
// middle: the server must not take what it got for all.
func TestStreamThatBreaksOffIsNoWholeRequest(t *testing.T) {
	for _, length := range []int64{-1, 1 << 20} {
		got := make(chan error, 1)
		r := rawRig(t, func(_ net.Conn, in *bufio.Reader) {
			request, err := http.ReadRequest(in)
			if err == nil {
				_, err = io.Copy(io.Discard, request.Body)
			}
			got <- err
		})
		r.site.Stream = func(w http.ResponseWriter, r *http.Request, s *Session) bool {
			out := s.Outgoing(r.Context(), r, nil)
			body, to := io.Pipe()
			out.Body, out.ContentLength = body, length
			go func() {
				_, _ = to.Write(make([]byte, 1000))
				_ = to.CloseWithError(errors.New("it broke"))
			}()
			if answer, err := s.Send(out); err == nil {
				_ = answer.Body.Close()
				t.Error("it was answered")
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		if status, _, _, err := do(t, r.client(t, false), "POST", "/", "x"); err != nil || status != http.StatusBadGateway {
			t.Errorf("%d %v", status, err)
		}
		if err := <-got; err == nil {
			t.Errorf("the server took %v for its end", err)
		}
	}
}

// TestStreamMayBeAnsweredWhileItComes has a server echo each piece.
func TestStreamMayBeAnsweredWhileItComes(t *testing.T) {
	r := rawRig(t, func(conn net.Conn, in *bufio.Reader) {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(conn, request.Body)
	})
	r.site.Stream = func(w http.ResponseWriter, r *http.Request, s *Session) bool {
		out := s.Outgoing(r.Context(), r, nil)
		body, to := io.Pipe()
		out.Body, out.ContentLength = body, -1
		answer, err := s.Send(out)
		if err != nil {
			t.Error(err)
			return true
		}
		defer answer.Body.Close()
		piece := make([]byte, 4)
		for range 100 {
			go func() { _, _ = to.Write([]byte("ping")) }()
			if _, err := io.ReadFull(answer.Body, piece); err != nil || string(piece) != "ping" {
				t.Errorf("%q %v", piece, err)
			}
		}
		_ = to.Close()
		if rest, err := io.ReadAll(answer.Body); err != nil || len(rest) > 0 {
			t.Errorf("%q %v", rest, err)
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	}
	if status, _, _, err := do(t, r.client(t, false), "POST", "/", "x"); err != nil || status != http.StatusNoContent {
		t.Errorf("%d %v", status, err)
	}
}

// TestReadWithABodyIsNotSentTwice: what was read of it is gone.
func TestReadWithABodyIsNotSentTwice(t *testing.T) {
	var sent atomic.Int64
	r := rawRig(t, func(conn net.Conn, in *bufio.Reader) {
		for {
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, request.Body); err != nil {
				t.Error("half a request came")
			}
			if request.URL.Path == "/second" {
				sent.Add(1)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	r.site.Classify = func(*http.Request, []byte) (operation.Operation, error) {
		return operation.Operation{Parsed: true, ReadOnly: true}, nil
	}
	client := r.client(t, false)
	if status, _, _, err := do(t, client, "POST", "/first", "x"); err != nil || status != 204 {
		t.Fatalf("%d %v", status, err)
	}
	if status, _, _, err := do(t, client, "POST", "/second", "x"); err != nil || status != http.StatusServiceUnavailable || sent.Load() != 1 {
		t.Errorf("%d %v, sent %d times", status, err, sent.Load())
	}
}
