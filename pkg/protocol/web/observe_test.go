package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/protocol/web"
	"github.com/sluicegate/sluice/pkg/session"
)

func TestObservedConversations(t *testing.T) {
	protocoltest.RunScripts(t, "testdata/observed", protocoltest.Plugin{
		New: func() (protocol.Protocol, error) { return web.New(web.Options{}), nil },
		Message: func(line string) (protocoltest.Message, error) {
			text, err := strconv.Unquote(line)
			return protocoltest.Message{Bytes: []byte(text)}, err
		},
		Conn: func(c *protocol.Conn) { c.Observe = true },
	})
}

// FuzzObserver lets peers say anything.
func FuzzObserver(f *testing.F) {
	f.Add([]byte("\x00|GET / HTTP/1.1\r\nHost: a\r\n\r\n|\x01|HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n|\x00|POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("\x01|HTTP/1.1 200 OK\r\n\r\n|\x00|\x16\x03"))
	f.Fuzz(func(t *testing.T, script []byte) {
		protocoltest.Pieces(t, web.NewObserver(&protocol.Conn{Session: &session.Session{}, Masks: &mask.Set{}}), script)
	})
}

// overheard is a listener whose connections go through the plug-in to a server,
// and what passed on both sides of it, by who said it.
type overheard struct {
	address string
	journal protocoltest.Journal
	serving sync.WaitGroup

	mu      sync.Mutex
	in, out [2]bytes.Buffer // guarded by mu
}

// overhear starts one, which passes everything on in pieces of a size.
func overhear(t *testing.T, server string, size int) *overheard {
	t.Helper()
	o := &overheard{}
	plugin := web.New(web.Options{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.address = listener.Addr().String()
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			o.serving.Go(func() {
				conn := &protocol.Conn{
					Session: &session.Session{ID: "test", Destination: netip.MustParseAddrPort(server)},
					Client:  o.between(client, size, &o.in[0], &o.out[1]), Guard: &o.journal, Observe: true, Log: zap.NewNop(),
					Masks: &mask.Set{Paths: []mask.Path{{Column: mask.Column{Mask: "pii", Method: mask.Redact}, Keys: []string{"email"}}}},
					Dial: func(context.Context) (net.Conn, error) {
						far, err := net.Dial("tcp", server)
						if err != nil {
							return nil, err
						}
						return o.between(far, size, &o.in[1], &o.out[0]), nil
					},
				}
				if err := plugin.Serve(t.Context(), conn); err != nil {
					t.Error(err)
				}
			})
		}
	}()
	return o
}

// between is a leg of the plug-in's for a peer: what the peer says is kept in said,
// what it hears in heard.
func (o *overheard) between(peer net.Conn, size int, said, heard *bytes.Buffer) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	leg, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	far, err := l.Accept()
	if err != nil {
		panic(err)
	}
	o.serving.Go(func() { o.copy(far, peer, size, said) })
	o.serving.Go(func() { o.copy(peer, far, size, heard) })
	return leg
}

func (o *overheard) copy(to, from net.Conn, size int, kept *bytes.Buffer) {
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		o.mu.Lock()
		kept.Write(piece[:n])
		o.mu.Unlock()
		for b := piece[:n]; len(b) > 0; {
			did, failed := to.Write(b[:min(len(b), size)])
			if failed != nil {
				break
			}
			b = b[did:]
		}
		if err != nil {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
	}
}

// same checks that all has ended, and that what came in went out.
func (o *overheard) same(t *testing.T) []protocoltest.Entry {
	t.Helper()
	ended := make(chan struct{})
	go func() { o.serving.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("a session goes on")
	}
	for peer, name := range []string{"client", "server"} {
		if in, out := o.in[peer].Bytes(), o.out[peer].Bytes(); !bytes.Equal(in, out) || len(in) == 0 {
			t.Errorf("the %s said %d bytes, and %d arrived", name, len(in), len(out))
		}
	}
	all := o.journal.Entries()
	for _, e := range all {
		if !e.Ended || len(e.Streams) != 0 || strings.Contains(e.Text+e.Outcome.Tag, "hunter2") || len(e.Op.Bytes) != 0 {
			t.Errorf("recorded %q, %+v, %v", e.Text, e.Outcome, e.Streams)
		}
	}
	return all
}

// TestObservedRequestsAreRead: curl gets what the server gives, byte by byte, and
// each request is known by what rules read of it, its status and its size. What
// the job logs in with is in no record.
func TestObservedRequestsAreRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer hunter2" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Set-Cookie", "session=hunter2")
		if r.URL.Path == "/stream" {
			for i := range 50 {
				fmt.Fprintf(w, "%d\n", i)
				w.(http.Flusher).Flush()
			}
			return
		}
		fmt.Fprintf(w, "%s %s %d", r.Method, r.RequestURI, len(body))
	}))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	for _, size := range []int{1, 5, 1 << 20} {
		o := overhear(t, at, size)
		login := "Authorization: Bearer hunter2"
		curl := func(want string, args ...string) {
			t.Helper()
			cmd := exec.Command("curl", append([]string{"-sS", "--max-time", "20", "-H", login}, args...)...)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), want) {
				t.Errorf("%v: %v, %.200s", args, err, out)
			}
		}
		url := "http://" + o.address
		curl("49\nGET /b?password=hunter2 0", url+"/stream", url+"/b?password=hunter2") // on one connection
		curl("POST /c 16", "-d", "password=hunter2", url+"/c")
		curl("PUT /d 100000", "-X", "PUT", "-H", "Expect:", "--data-binary", strings.Repeat("x", 100000), url+"/d")
		curl("POST /e 7", "-H", "Transfer-Encoding: chunked", "-d", "chunked", url+"/e")
		curl("", "-I", url+"/g")
		curl("GET /h 0", "--http1.0", url+"/h")
		login = "Authorization: none"
		curl("who are you?\n", url+"/f")
		all := o.same(t)
		want := []struct {
			text, code string
			parsed     bool
		}{
			{"GET /stream", "200", true},
			{"GET /b", "200", true},
			{"POST /c", "200", true},
			{"PUT /d", "200", false},
			{"POST /e", "200", false},
			{"HEAD /g", "200", true},
			{"GET /h", "200", true},
			{"GET /f", "401", true},
		}
		if len(all) != len(want) {
			t.Fatalf("%d requests, %+v", len(all), all)
		}
		for i, e := range all {
			w := want[i]
			if e.Text != w.text || e.Outcome.Code != w.code || e.Op.Parsed != w.parsed || e.Op.Kind != operation.Request || e.Op.HTTP.Host != "127.0.0.1" {
				t.Errorf("%s: recorded %q, %+v, parsed %v, host %q", w.text, e.Text, e.Outcome, e.Op.Parsed, e.Op.HTTP.Host)
			}
			if !strings.HasSuffix(e.Outcome.Tag, " received") || strings.HasPrefix(e.Outcome.Tag, "0 ") {
				t.Errorf("%s: %q", w.text, e.Outcome.Tag)
			}
		}
	}
}
