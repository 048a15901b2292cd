package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/session"
)

// said is a leg on which a client has said all that it says.
type said struct {
	io.Reader
	answers *bytes.Buffer
}

func (l said) Write(p []byte) (int, error)      { return l.answers.Write(p) }
func (said) Close() error                       { return nil }
func (said) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (said) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (said) SetDeadline(time.Time) error        { return nil }
func (said) SetReadDeadline(at time.Time) error { return nil }
func (said) SetWriteDeadline(time.Time) error   { return nil }

// understood returns the requests that a site is asked about, as far as they can
// be told apart, when serve serves the leg.
func understood(t testing.TB, serve func(*Session)) (all []string) {
	t.Helper()
	var mu sync.Mutex
	journal := &protocoltest.Journal{}
	s, err := newSession(t.Context(), New(), &protocol.Conn{
		Session: &session.Session{ID: "test", Destination: netip.MustParseAddrPort("192.0.2.1:80")}, Client: said{},
		TLS: protocol.ServerTLS{Mode: protocol.TLSOff}, Guard: journal, Masks: &mask.Set{}, Log: zap.NewNop(),
	}, Site{
		Classify: func(r *http.Request, body []byte) (operation.Operation, error) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, fmt.Sprintf("%s %s %s %q %q", r.Method, r.RequestURI, r.Host, r.Header, body))
			return operation.Operation{}, &Refusal{Code: http.StatusForbidden, Message: "no"}
		},
		Refuse: func(w http.ResponseWriter, _ *http.Request, refusal *Refusal) {
			http.Error(w, refusal.Message, refusal.Code)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.cancel(nil)
	s.http1 = true
	serve(s)
	return all
}

// byOurs and byTheirs serve a leg with what is ours, and with net/http's server.
func byOurs(from io.Reader, answers *bytes.Buffer) func(*Session) {
	return func(s *Session) { newClient(s, said{from, answers}).serve() }
}

func byTheirs(from io.Reader, answers *bytes.Buffer) func(*Session) {
	return func(s *Session) {
		closed := make(chan struct{})
		server, listener := s.server(closed), &single{conn: said{from, answers}, over: make(chan struct{})}
		server.Protocols = nil // HTTP/1.1
		var wait sync.WaitGroup
		wait.Go(func() { _ = server.Serve(listener) })
		<-closed
		_ = server.Close()
		_ = listener.Close()
		wait.Wait()
	}
}

// FuzzClientLegIsAsStrictAsNetHTTP compares what is understood of bytes with what
// net/http's server understands: the same, or no more after some request. In
// pieces it is the same as whole.
func FuzzClientLegIsAsStrictAsNetHTTP(f *testing.F) {
	const line = "POST /a HTTP/1.1\r\nHost: a\r\n"
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
		line + "Content-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: a\r\n\r\n", line + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
		line + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
		line + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx" + line + "Expect: more\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX\x00: 1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", line + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		line + "Content-Length: 70000\r\nContent-Encoding: gzip\r\n\r\n" + strings.Repeat("x", 70000) + "GET /b HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", headerBytes) + "\r\n\r\n",
		line + "Content-Length: 1\r\n\r\nx\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, all []byte) {
		var answers bytes.Buffer
		ours := understood(t, byOurs(bytes.NewReader(all), &answers))
		theirs := understood(t, byTheirs(bytes.NewReader(all), new(bytes.Buffer)))
		if len(ours) > len(theirs) {
			t.Fatalf("understood %q, net/http %q", ours, theirs)
		}
		for i := range ours {
			if ours[i] != theirs[i] {
				t.Errorf("understood %s, net/http %s", ours[i], theirs[i])
			}
		}
		var pieces bytes.Buffer
		if again := understood(t, byOurs(iotest.OneByteReader(bytes.NewReader(all)), &pieces)); fmt.Sprint(again) != fmt.Sprint(ours) {
			t.Errorf("in pieces %q, whole %q", again, ours)
		}
		in, n := bufio.NewReader(&answers), 0
		for ; ; n++ {
			answer, err := http.ReadResponse(in, nil)
			if err != nil {
				break
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.Body.Close() != nil {
				t.Errorf("answered half: %v", err)
			}
		}
		if n < len(ours) {
			t.Errorf("%d requests, %d answers", len(ours), n)
		}
	})
}

// handled has a handler write the answer to a request, and returns the bytes.
func handled(t *testing.T, request string, handler http.HandlerFunc) string {
	t.Helper()
	r := newRig(t, func(http.ResponseWriter, *http.Request) {})
	r.site.Stream = func(w http.ResponseWriter, r *http.Request, _ *Session) bool {
		w.Header().Set("Date", "now")
		handler(w, r)
		return true
	}
	conn := r.secure(t, "http/1.1")
	_, _ = io.WriteString(conn, request)
	_ = conn.CloseWrite() // of TLS: the answer comes all the same
	text, _ := io.ReadAll(conn)
	return string(text)
}

func TestAnswerIsFramed(t *testing.T) {
	const get, head, old = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"
	write := func(pieces ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, piece := range pieces {
				if piece == "|" {
					_ = http.NewResponseController(w).Flush()
					continue
				}
				_, _ = io.WriteString(w, piece)
			}
		}
	}
	long := strings.Repeat("x", heldBytes+1)
	for name, test := range map[string]struct {
		request string
		handler http.HandlerFunc
		want    string
	}{
		"nothing":       {get, write(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: now\r\n\r\n"},
		"a little":      {get, write("o", "k"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: now\r\n\r\nok"},
		"more":          {get, write("o", long), "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n801\r\n" + long + "\r\n0\r\n\r\n"},
		"flushed":       {get, write("|", "ok", "|"), "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		"of HTTP/1.0":   {old, write("|", "ok"), "HTTP/1.1 200 OK\r\nConnection: close\r\nDate: now\r\n\r\nok"},
		"short of it":   {old, write("ok"), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nDate: now\r\n\r\nok"},
		"a header only": {head, write("ok"), "HTTP/1.1 200 OK\r\nDate: now\r\n\r\n"},
		"no content": {get, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			_, _ = io.WriteString(w, "none")
		}, "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n"},
		"a line in a field": {get, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Two", "a\r\nX-Three: b")
		}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: now\r\nX-Two: a  X-Three: b\r\n\r\n"},
		"framing of its own": {get, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Transfer-Encoding", "identity")
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, "ok")
		}, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nDate: now\r\n\r\nok"},
		"more than it says": {get, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ok")
			if _, err := io.WriteString(w, "HTTP/1.1 200 OK"); err == nil {
				t.Error("more was taken than the length says")
			}
		}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: now\r\n\r\nok"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := handled(t, test.request, test.handler); got != test.want {
				t.Errorf("answered %q, want %q", got, test.want)
			}
		})
	}
}

// TestAnswerThatBreaksOffIsNoWholeOne is for each framing.
func TestAnswerThatBreaksOffIsNoWholeOne(t *testing.T) {
	for name, test := range map[string]struct {
		proto, length string
	}{"chunks": {"HTTP/1.1", ""}, "a length": {"HTTP/1.1", "9"}, "the end of the leg": {"HTTP/1.0", ""}} {
		t.Run(name, func(t *testing.T) {
			for _, panics := range []bool{true, false} {
				if !panics && test.length == "" {
					continue
				}
				r := newRig(t, func(http.ResponseWriter, *http.Request) {})
				r.conn = func(c *protocol.Conn) { _ = c.Client.(*net.TCPConn).SetLinger(0) } // as the agent has it
				r.site.Stream = func(w http.ResponseWriter, _ *http.Request, _ *Session) bool {
					if test.length != "" {
						w.Header().Set("Content-Length", test.length)
					}
					_, _ = io.WriteString(w, "half")
					_ = http.NewResponseController(w).Flush()
					if panics {
						panic(http.ErrAbortHandler)
					}
					return true
				}
				conn := r.secure(t, "http/1.1")
				_, _ = io.WriteString(conn, "GET / "+test.proto+"\r\nHost: a\r\n\r\n")
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					continue // reset before it was read
				}
				if text, err := io.ReadAll(answer.Body); err == nil {
					t.Errorf("%q looks whole", text)
				}
				_ = answer.Body.Close()
			}
		})
	}
}

// TestWordForTheBodyIsGivenOnceAndInTime has clients that wait for it, and one
// that gets an answer instead.
func TestWordForTheBodyIsGivenOnceAndInTime(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	conn := r.secure(t, "http/1.1")
	in := bufio.NewReader(conn)
	const line = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
	for range 2 {
		_, _ = io.WriteString(conn, line+"Content-Length: 2\r\n\r\n")
		if word, err := in.ReadString('\n'); err != nil || word != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q %v", word, err)
		}
		_, _ = in.ReadString('\n')
		_, _ = io.WriteString(conn, "ok")
		answer, err := http.ReadResponse(in, nil)
		if err != nil || answer.StatusCode != 200 {
			t.Fatalf("%v %v", answer, err)
		}
		if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "ok" || answer.Body.Close() != nil {
			t.Errorf("%q %v", text, err)
		}
	}
	_, _ = io.WriteString(conn, line+"Content-Length: 99999999\r\n\r\n")
	text, err := io.ReadAll(in)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 413") || !strings.Contains(string(text), "\r\nConnection: close\r\n") {
		t.Errorf("%q %v", text, err)
	}
}

// TestClientThatLeavesIsNoticedUnread has ends of several kinds come behind bytes
// that nobody reads.
func TestClientThatLeavesIsNoticedUnread(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closes":        func(c *net.TCPConn) { _ = c.Close() },
		"closes half":   func(c *net.TCPConn) { _ = c.CloseWrite() },
		"resets":        func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"and not stays": nil,
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		leg, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		ctx, gone := context.WithCancel(t.Context())
		stop, err := watch(leg, gone)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(client, "unread")
		wait := soon
		if leave != nil {
			leave(client.(*net.TCPConn))
		} else {
			wait = 50 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		if (ctx.Err() != nil) != (leave != nil) {
			t.Errorf("%s: %v", name, ctx.Err())
		}
		stop()
		if text := make([]byte, 6); leave == nil {
			if _, err := io.ReadFull(leg, text); err != nil || string(text) != "unread" {
				t.Errorf("%q %v", text, err)
			}
		}
		_, _ = client.Close(), leg.Close()
		gone()
	}
}
