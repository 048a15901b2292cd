package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

func TestHundredThousandFieldsAreRefused(t *testing.T) {
	r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
	var request strings.Builder
	request.WriteString("GET / HTTP/1.1\r\nHost: a\r\n")
	for i := range 100_000 {
		fmt.Fprintf(&request, "X-%d: y\r\n", i)
	}
	if answer := r.raw(t, request.String()+"\r\n"); !strings.HasPrefix(answer, "431") {
		t.Errorf("answered %.100q", answer)
	}
	if n := len(r.journal.Entries()); n != 0 {
		t.Errorf("%d were asked about", n)
	}
}

func TestBodyWithoutEndIsRefused(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
		request, err := http.NewRequestWithContext(t.Context(), "POST", "https://server.example/", endless{})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := r.client(t, http2).Do(request)
		if err == nil {
			if answer.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("answered %s", answer.Status)
			}
			_ = answer.Body.Close()
		}
		if !r.journal.Await(func(all []protocoltest.Entry) bool {
			return len(all) == 1 && all[0].Outcome.Status == protocol.Refused && all[0].Outcome.Code == "413" && !all[0].Op.Parsed
		}) {
			t.Errorf("%v, %+v", err, r.journal.Requests())
		}
		if r.engine.memory.Taken() != 0 {
			t.Errorf("%d bytes are not given back", r.engine.memory.Taken())
		}
	})
}

type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestSlowClientIsSentAway(t *testing.T) {
	for name, request := range map[string]string{
		"nothing":  "",
		"a header": "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
		"a body":   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
			r.engine.patience = patience{grace: time.Second, body: time.Second, idle: time.Second}
			conn := r.secure(t, "http/1.1")
			_, _ = io.WriteString(conn, request)
			answer, err := io.ReadAll(conn) // until it is closed
			if err != nil {
				t.Errorf("it is not sent away: %v", err)
			}
			if name == "a body" && !strings.HasPrefix(string(answer), "HTTP/1.1 408") {
				t.Errorf("answered %.100q", answer)
			}
		})
	}
}

// TestHoldIsLongerThanEveryPatience holds a request for longer than a client may
// take for anything.
func TestHoldIsLongerThanEveryPatience(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("done")) })
		const short = time.Second // for a handshake too, on a machine with other work
		r.engine.patience = patience{grace: short, body: short, idle: short}
		r.journal.Decide = func(ctx context.Context, op *operation.Operation) protocol.Decision {
			if op.Kind != operation.Connect {
				select {
				case <-ctx.Done():
				case <-time.After(2 * short):
				}
			}
			return protocol.Decision{Effect: protocol.Allow}
		}
		status, _, text, err := do(t, r.client(t, http2), "POST", "/", "x")
		if err != nil || status != 200 || text != "done" {
			t.Errorf("%d %q %v", status, text, err)
		}
	})
}

// TestPipelinedRequestWaitsBehindAHeldOne sends two at once, and leaves in
// another run, which is noticed although the second one lies there unread.
func TestPipelinedRequestWaitsBehindAHeldOne(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprintf("leaves %v", leaves), func(t *testing.T) {
			tap := &wiretap{}
			r := rawRig(t, tap.serve)
			held, release := make(chan struct{}), make(chan struct{})
			r.journal.Decide = func(ctx context.Context, op *operation.Operation) protocol.Decision {
				if op.HTTP != nil && op.HTTP.Path == "/first" {
					close(held)
					select {
					case <-ctx.Done():
					case <-release:
					}
				}
				return protocol.Decision{Effect: protocol.Allow}
			}
			conn := r.secure(t, "http/1.1")
			_, _ = io.WriteString(conn, "DELETE /first HTTP/1.1\r\nHost: a\r\n\r\n")
			<-held
			_, _ = io.WriteString(conn, "DELETE /second HTTP/1.1\r\nHost: a\r\n\r\n")
			if leaves {
				_ = conn.Close()
				if !r.journal.Await(func(all []protocoltest.Entry) bool {
					return len(all) == 1 && all[0].Outcome.Status == protocol.Abandoned
				}) {
					t.Errorf("%+v", r.journal.Requests())
				}
				if got := tap.String(); got != "" {
					t.Errorf("the server got %q", got)
				}
				return
			}
			close(release)
			in := bufio.NewReader(conn)
			for range 2 {
				answer, err := http.ReadResponse(in, nil)
				if err != nil || answer.StatusCode != 200 {
					t.Fatalf("%v %v", answer, err)
				}
				_, _ = io.ReadAll(answer.Body)
				_ = answer.Body.Close()
			}
			if first, second := strings.Index(tap.String(), "/first"), strings.Index(tap.String(), "/second"); first < 0 || second < first {
				t.Errorf("the server got %q", tap.String())
			}
		})
	}
}

// TestRapidResetIsBounded opens and resets streams without end (CVE-2023-44487)
// while each is held: no more are under way than one connection may have.
func TestRapidResetIsBounded(t *testing.T) {
	r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
	var mu sync.Mutex
	under, most := 0, 0
	r.journal.Decide = func(ctx context.Context, op *operation.Operation) protocol.Decision {
		if op.Kind == operation.Connect {
			return protocol.Decision{Effect: protocol.Allow}
		}
		mu.Lock()
		under++
		most = max(most, under)
		mu.Unlock()
		<-ctx.Done()
		mu.Lock()
		under--
		mu.Unlock()
		return protocol.Decision{}
	}
	conn := r.secure(t, "h2")
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	sent := 0
	for id := uint32(1); id < 200_000; id += 2 {
		block.Reset()
		for _, field := range [][2]string{{":method", "DELETE"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		if framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}) != nil ||
			framer.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
		sent++
	}
	mu.Lock()
	defer mu.Unlock()
	if most > maxStreams {
		t.Errorf("%d requests were under way at once, after %d", most, sent)
	}
	t.Logf("%d streams, %d at once", sent, most)
}

// TestStreamsOverTheLimitAreRefused opens more than a connection may have, all
// held.
func TestStreamsOverTheLimitAreRefused(t *testing.T) {
	r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
	r.journal.Decide = func(ctx context.Context, op *operation.Operation) protocol.Decision {
		if op.Kind != operation.Connect {
			<-ctx.Done()
		}
		return protocol.Decision{Effect: protocol.Allow}
	}
	conn := r.secure(t, "h2")
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := range uint32(maxStreams + 20) {
		block.Reset()
		for _, field := range [][2]string{{":method", "DELETE"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	refused := 0
	for refused < 20 {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("%d were refused: %v", refused, err)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.ErrCode == http2.ErrCodeRefusedStream {
			refused++
		}
	}
}

func TestWorkloadHasSoManyRequestsUnderWay(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {})
	r.engine.requests = protocol.NewPool(1, 10)
	held := make(chan struct{})
	r.journal.Decide = func(ctx context.Context, op *operation.Operation) protocol.Decision {
		if op.HTTP != nil && op.HTTP.Path == "/held" {
			close(held)
			<-ctx.Done()
		}
		return protocol.Decision{Effect: protocol.Allow}
	}
	go func() {
		conn := r.secure(t, "http/1.1")
		_, _ = io.WriteString(conn, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
	}()
	<-held
	if answer := r.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(answer, "429") {
		t.Errorf("answered %q", answer)
	}
	r.conn = func(c *protocol.Conn) { c.Session.Workload.Kernel.NetnsCookie = 2 }
	if answer := r.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(answer, "200") {
		t.Errorf("another workload was answered %q", answer)
	}
}

func TestClientWithoutTLSIsToldSo(t *testing.T) {
	r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
	for first, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":            "HTTP/1.1 400 Bad Request",
		http2.ClientPreface:                            "HTTP/1.1 400 Bad Request",
		"SSH-2.0-OpenSSH_9.2\r\n":                      "HTTP/1.1 400 Bad Request", // it begins as a method does
		"\x00\x00\x00\x08\x04\xd2\x16\x2f":             "",
		strings.Repeat("\xff", 1<<10):                  "",
		"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\x00": "",
	} {
		client, ended, _ := r.open(t)
		_, _ = io.WriteString(client, first)
		_ = client.SetReadDeadline(time.Now().Add(soon))
		answer, _ := io.ReadAll(client)
		if want != "" && !strings.HasPrefix(string(answer), want) || want == "" && strings.HasPrefix(string(answer), "HTTP") {
			t.Errorf("%q is answered %q", first, answer)
		}
		var violation *protocol.Violation
		if err := <-ended; !errors.As(err, &violation) {
			t.Errorf("%q is no violation: %v", first, err)
		}
	}
}
