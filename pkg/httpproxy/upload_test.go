package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

// streams has a rig forward bodies that are too large to be held.
func (r *rig) streams() *rig {
	r.site.Streamed = func(*http.Request) (operation.Operation, error) {
		return operation.Operation{Parsed: true, Text: operation.Text("an upload"), Bytes: []byte("an upload")}, nil
	}
	return r
}

// sendBody sends a body, whose length it says or not.
func sendBody(t *testing.T, client *http.Client, method string, body io.Reader, length int64) (status int, text string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "https://server.example/file", io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = length
	request.Header.Set("Content-Type", "application/octet-stream")
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all), err
}

// received says what a server got of a body.
func received(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	fmt.Fprintf(w, "%d %x %v %d %v", n, sum.Sum(nil), err, r.ContentLength, r.TransferEncoding)
}

func TestLargeBodyIsForwardedAsItIs(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcde\n"), (bodyBytes+999_999)/16)
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, received).streams()
		client := r.client(t, http2)
		for _, length := range []int64{int64(len(body)), -1} {
			framing := "[]"
			if length < 0 {
				framing = "[chunked]"
			}
			want := fmt.Sprintf("%d %x <nil> %d %s", len(body), sha256.Sum256(body), length, framing)
			if status, text, err := sendBody(t, client, "PUT", bytes.NewReader(body), length); err != nil || status != 200 || text != want {
				t.Fatalf("%d %q %v", status, text, err)
			}
			all := r.journal.Requests()
			e := all[len(all)-1]
			said := fmt.Sprintf("OK; sent %d bytes, sha256:%x", len(body), sha256.Sum256(body))
			if e.Text != "an upload" || e.Streams[protocol.Input] != string(body) || e.Outcome.Status != protocol.OK || e.Outcome.Tag != said {
				t.Errorf("%q, %d bytes, %+v", e.Text, len(e.Streams[protocol.Input]), e.Outcome)
			}
		}
		if n := r.dials.Load(); n > 2 {
			t.Errorf("%d connections", n)
		}
		if taken := r.engine.memory.Taken(); taken != 0 {
			t.Errorf("%d bytes of room are not given back", taken)
		}
	})
}

// TestLargeBodyIsRefusedWhereItHasToBeRead before it is asked for.
func TestLargeBodyIsRefusedWhereItHasToBeRead(t *testing.T) {
	body := make([]byte, bodyBytes+1)
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
		for _, length := range []int64{int64(len(body)), -1} {
			client := r.client(t, http2)
			if status, text, err := sendBody(t, client, "PUT", bytes.NewReader(body), length); err != nil || status != 413 || !strings.Contains(text, "larger than 4 MiB") {
				t.Errorf("%d %q %v", status, text, err)
			}
			r.streams()
			client = r.client(t, http2)
			for _, method := range []string{"GET", "DELETE", "OPTIONS"} {
				// A client that still writes may not look for its answer any more.
				if status, text, err := sendBody(t, client, method, bytes.NewReader(body), length); err == nil && status != 413 {
					t.Errorf("%s: %d %q %v", method, status, text, err)
				}
			}
			r.site.Streamed = nil
		}
		r.streams()
		client := r.client(t, http2)
		r.journal.Decide = func(_ context.Context, op *operation.Operation) protocol.Decision {
			if op.Kind == operation.Connect {
				return protocol.Decision{Effect: protocol.Allow}
			}
			return protocol.Decision{Rule: "r", Reason: "too large to be held", TooLarge: true}
		}
		status, text, err := sendBody(t, client, "PUT", bytes.NewReader(body), int64(len(body)))
		if err != nil || status != 413 || !strings.Contains(text, `rule "r": too large to be held`) {
			t.Errorf("%d %q %v", status, text, err)
		}
		all := r.journal.Requests()
		if e := all[len(all)-1]; e.Outcome.Status != protocol.Refused || e.Outcome.Code != "413" || len(e.Streams) > 0 {
			t.Errorf("%+v %q", e.Outcome, e.Streams)
		}
	})
}

// TestClientIsNotAskedForABodyThatIsRefused where it waits for a word.
func TestClientIsNotAskedForABodyThatIsRefused(t *testing.T) {
	r := newRig(t, received).streams()
	const head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n"
	r.journal.Decide = func(_ context.Context, op *operation.Operation) protocol.Decision {
		if op.Kind == operation.Connect {
			return protocol.Decision{Effect: protocol.Allow}
		}
		return protocol.Decision{Rule: "r"}
	}
	conn := r.secure(t, "http/1.1")
	_, _ = io.WriteString(conn, head)
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 403") || !strings.Contains(string(text), "Connection: close") {
		t.Errorf("%q %v", text, err)
	}
	r.journal.Decide = nil
	conn = r.secure(t, "http/1.1")
	_, _ = io.WriteString(conn, head)
	in := bufio.NewReader(conn)
	if word, err := in.ReadString('\n'); err != nil || word != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q %v", word, err)
	}
	_, _ = in.ReadString('\n')
	go func() { _, _ = conn.Write(make([]byte, 5_000_000)) }()
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%v %v", answer, err)
	}
	_ = answer.Body.Close()
}

// halfway is a body of which a part comes, and then what.
type halfway struct {
	left int
	then func() error
}

func (h *halfway) Read(p []byte) (int, error) {
	if h.left == 0 {
		return 0, h.then()
	}
	n := min(len(p), h.left)
	h.left -= n
	return n, nil
}

// tally is a server that counts what it gets of each body.
type tally struct {
	got  chan int64
	err  chan error
	told chan struct{} // closed at the first piece
}

func newTally() *tally {
	return &tally{got: make(chan int64, 9), err: make(chan error, 9), told: make(chan struct{})}
}

func (c *tally) serve(_ net.Conn, in *bufio.Reader) {
	request, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	first := make([]byte, 1)
	_, _ = io.ReadFull(request.Body, first)
	close(c.told)
	n, err := io.Copy(io.Discard, request.Body)
	c.got <- n + 1
	c.err <- err
}

// TestBodyThatBreaksOffIsNoWholeRequest by what its client does, or by what
// cannot be recorded. The record says how much of it there was.
func TestBodyThatBreaksOffIsNoWholeRequest(t *testing.T) {
	const half = bodyBytes + 1<<20
	for name, test := range map[string]struct {
		then    func(leave, over func()) error // what the client does after a half
		fails   bool                           // the record does
		trailer bool
		refused int
		status  protocol.Status
	}{
		"the client leaves":  {then: func(leave, _ func()) error { leave(); return io.ErrClosedPipe }, status: protocol.Abandoned},
		"the client stalls":  {then: func(_, over func()) error { over(); return io.ErrClosedPipe }, refused: 408, status: protocol.Abandoned},
		"the record is full": {then: func(_, _ func()) error { return io.EOF }, fails: true, refused: 503, status: protocol.Refused},
		"a trailer":          {then: func(_, _ func()) error { return io.EOF }, trailer: true, refused: 400, status: protocol.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, http2 bool) {
				for _, length := range []int64{2 * half, -1} {
					if (test.trailer || test.fails) && length > 0 || http2 && test.trailer {
						continue // what ends at its half has no length; trailers of HTTP/2 are named before
					}
					at := newTally()
					r := rawRig(t, at.serve).streams()
					if test.refused == 408 {
						r.engine.patience.body = 200 * time.Millisecond
					}
					r.journal.Fail = func(_ *operation.Operation, stream protocol.Stream) error {
						if all := r.journal.Requests(); test.fails && stream == protocol.Input && len(all[len(all)-1].Streams[stream]) > half/2 {
							return errors.New("no room")
						}
						return nil
					}
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					body := &halfway{half, func() error {
						<-at.told
						return test.then(leave, func() { r.journal.Await(func(all []protocoltest.Entry) bool { return all[0].Ended }) })
					}}
					request, err := http.NewRequestWithContext(ctx, "POST", "https://server.example/file", io.NopCloser(body))
					if err != nil {
						t.Fatal(err)
					}
					request.Header.Set("Content-Type", "application/octet-stream")
					request.ContentLength = length
					if test.trailer {
						request.Trailer = http.Header{"X-Late": {"1"}}
					}
					answer, err := r.client(t, http2).Do(request)
					switch {
					case err == nil && answer.StatusCode != test.refused:
						t.Errorf("answered %s", answer.Status)
					case err != nil && test.refused != 0 && !strings.Contains(err.Error(), "pipe") && !strings.Contains(err.Error(), "reset"):
						t.Errorf("%v", err) // and not that it could not send all
					}
					if err == nil {
						_ = answer.Body.Close()
					}
					if test.trailer { // it is named before
						continue
					}
					if err := <-at.err; err == nil {
						t.Error("the server took it for whole")
					}
					if !r.journal.Await(func(all []protocoltest.Entry) bool { return len(all) == 1 && all[0].Ended }) {
						t.Fatal("it does not end")
					}
					e, got := r.journal.Requests()[0], <-at.got
					recorded := int64(len(e.Streams[protocol.Input]))
					if test.refused != 0 && e.Outcome.Code != strconv.Itoa(test.refused) {
						t.Errorf("%+v", e.Outcome)
					}
					if e.Outcome.Status != test.status || got > recorded || !strings.HasSuffix(e.Outcome.Tag, ", cut off") || !strings.Contains(e.Outcome.Tag, "sent ") {
						t.Errorf("%+v, %d recorded, %d forwarded", e.Outcome, recorded, got)
					}
				}
			})
		})
	}
}

// TestTrailerBehindALargeBodyIsNoPartOfIt where nobody named it before.
func TestTrailerBehindALargeBodyIsNoPartOfIt(t *testing.T) {
	at := newTally()
	r := rawRig(t, at.serve).streams()
	conn := r.secure(t, "http/1.1")
	go func() {
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 5 {
			_, _ = fmt.Fprintf(conn, "%x\r\n%s\r\n", 1<<20, strings.Repeat("x", 1<<20))
		}
		_, _ = io.WriteString(conn, "0\r\nX-Late: 1\r\n\r\n")
	}()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != 400 {
		t.Fatalf("%v %v", answer, err)
	}
	_ = answer.Body.Close()
	if err := <-at.err; err == nil {
		t.Error("the server took it for whole")
	}
}

// TestLargeBodyIsRecordedBeforeItIsForwarded piece by piece, each of which the
// server has at once.
func TestLargeBodyIsRecordedBeforeItIsForwarded(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		for _, length := range []int64{bodyBytes + 7, -1} {
			var r *rig
			next, got := make(chan string), make(chan string)
			r = rawRig(t, func(conn net.Conn, in *bufio.Reader) {
				request, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.CopyN(io.Discard, request.Body, bodyBytes+2)
				for range 4 {
					piece := make([]byte, 1)
					_, _ = io.ReadFull(request.Body, piece)
					got <- string(piece)
				}
				if _, err := io.ReadAll(request.Body); err == nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				}
			}).streams()
			done := make(chan int, 1)
			from, to := io.Pipe()
			client := r.client(t, http2)
			go func() {
				status, _, _ := sendBody(t, client, "POST", from, length)
				done <- status
			}()
			go func() {
				_, _ = to.Write(make([]byte, bodyBytes+2))
				for piece := range next {
					_, _ = io.WriteString(to, piece)
				}
				_, _ = io.WriteString(to, "e") // which net/http's client keeps until it knows that it is the last
				_ = to.Close()
			}()
			for _, piece := range []string{"a", "b", "c", "d"} {
				next <- piece
				if text := <-got; text != piece {
					t.Fatalf("the server got %q", text)
				}
				if text := r.journal.Requests()[0].Streams[protocol.Input]; !strings.HasSuffix(text, piece) {
					t.Errorf("%q was forwarded before it was recorded", piece)
				}
			}
			close(next)
			if status := <-done; status != 204 {
				t.Errorf("%d", status)
			}
		}
	})
}

// TestPersonStopsASessionInABody and its client is told so.
func TestPersonStopsASessionInABody(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		at := newTally()
		r := rawRig(t, at.serve).streams()
		r.conn = func(c *protocol.Conn) { c.Stopped = func() string { return "ada ordered stop" } }
		leg, ended, stop := r.open(t)
		client := r.client(t, http2)
		client.Transport.(*http.Transport).DialContext = dialled(leg)
		from, to := io.Pipe()
		go func() {
			_, _ = to.Write(make([]byte, bodyBytes+1))
			<-at.told
			stop(protocol.ErrStopped)
			<-ended
			_ = to.Close()
		}()
		if status, text, err := sendBody(t, client, "POST", from, 2*bodyBytes); err != nil || status != 403 || !strings.Contains(text, "ada ordered stop") {
			t.Errorf("%d %q %v", status, text, err)
		}
		if err := <-at.err; err == nil {
			t.Error("the server took it for whole")
		}
		if e := r.journal.Requests()[0]; e.Outcome.Status != protocol.Abandoned || !strings.HasSuffix(e.Outcome.Tag, ", cut off") {
			t.Errorf("%+v", e.Outcome)
		}
	})
}
