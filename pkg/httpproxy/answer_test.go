package httpproxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

// answering is a server that says these bytes to each request, and leaves.
func answering(answer string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, in *bufio.Reader) {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		_, _ = io.WriteString(conn, answer)
	}
}

func TestServersOddAnswersAreContained(t *testing.T) {
	for name, test := range map[string]struct{ server, client, status string }{
		"early hints":        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 OK ok", "ok"},
		"hints without end":  {strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 1000)+"\r\n\r\n", 1000), "503 ", "failed"},
		"another protocol":   {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfree bytes", "502 ", "failed"},
		"it knows nobody":    {"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n", "502 Bad Gateway sluice: the server did not accept the agent's credential", "failed"},
		"a header too large": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 1<<20) + "\r\n\r\n", "503 ", "failed"},
		"two lengths":        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", "503 ", "failed"},
		"noise":              {"\xff\xff\xff\xff\r\n\r\n", "503 ", "failed"},
		"nothing":            {"", "503 ", "failed"},
		"half of it":         {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "502 ", "failed"},
		"half of a lot":      {"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nok", "unexpected EOF", "failed"},
		"half of its chunks": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "200 OK unexpected EOF", "failed"},
		"a trailer":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n", "200 OK ok", "ok"},
		"no length":          {"HTTP/1.1 200 OK\r\n\r\nok", "200 OK ok", "ok"},
		"not there":          {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "404 Not Found no", "failed"},
		"no content":         {"HTTP/1.1 204 No Content\r\n\r\n", "204 No Content", "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rawRig(t, answering(test.server))
			answer := r.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
			if !strings.HasPrefix(answer, test.client) || strings.Contains(answer, "free bytes") {
				t.Errorf("answered %.200q", answer)
			}
			if !r.journal.Await(func(all []protocoltest.Entry) bool {
				return len(all) == 1 && string(all[0].Outcome.Status) == test.status
			}) {
				t.Errorf("%+v", r.journal.Requests())
			}
		})
	}
}

func TestServersFieldsOfItsLoginStay(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"Set-Cookie", "Www-Authenticate", "Alt-Svc", "Authentication-Info", "X-Kept"} {
				w.Header().Set(name, "there")
			}
		})
		_, header, _, err := do(t, r.client(t, http2), "GET", "/", "")
		if err != nil || header.Get("X-Kept") != "there" {
			t.Fatal(err)
		}
		for _, name := range []string{"Set-Cookie", "Www-Authenticate", "Alt-Svc", "Authentication-Info", "Content-Type"} {
			if header.Get(name) != "" {
				t.Errorf("%s: %s", name, header.Get(name))
			}
		}
	})
}

// TestOnlyWhatReadsIsSentTwice has a server that closes a connection, used
// before, when the next request comes.
func TestOnlyWhatReadsIsSentTwice(t *testing.T) {
	for method, want := range map[string]int64{"GET": 2, "POST": 1, "DELETE": 1, "PUT": 1} {
		t.Run(method, func(t *testing.T) {
			var sent atomic.Int64
			r := rawRig(t, func(conn net.Conn, in *bufio.Reader) {
				for n := 0; ; n++ {
					request, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, request.Body)
					if request.URL.Path == "/second" {
						sent.Add(1)
						if n > 0 {
							return
						}
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			client := r.client(t, false)
			if _, _, _, err := do(t, client, "GET", "/first", ""); err != nil {
				t.Fatal(err)
			}
			request, err := http.NewRequestWithContext(t.Context(), method, "https://server.example/second", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Idempotency-Key", "1") // for which net/http would send anything again
			answer, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if sent.Load() != want || (answer.StatusCode == 200) != (want == 2) {
				t.Errorf("sent %d times, answered %s", sent.Load(), answer.Status)
			}
		})
	}
}

func TestServerThatAnswersBeforeTheBodyIsRead(t *testing.T) {
	r := rawRig(t, func(conn net.Conn, in *bufio.Reader) {
		if _, err := http.ReadRequest(in); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
			_, _ = io.Copy(io.Discard, in)
		}
	})
	status, _, text, err := do(t, r.client(t, false), "POST", "/", strings.Repeat("x", 3<<20))
	if err != nil || status != 409 || text != "no" {
		t.Errorf("%d %q %v", status, text, err)
	}
}

// TestAnswerWithoutEndIsFlushedAndEndsWithItsClient watches something.
func TestAnswerWithoutEndIsFlushedAndEndsWithItsClient(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		next, left := make(chan string), make(chan struct{})
		r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(left)
			w.(http.Flusher).Flush()
			for {
				select {
				case line := <-next:
					_, _ = io.WriteString(w, line)
					w.(http.Flusher).Flush()
				case <-r.Context().Done():
					return
				}
			}
		})
		answer, err := r.client(t, http2).Get("https://server.example/watch") // there is a header before there is a body
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(answer.Body)
		for n := range 3 {
			next <- fmt.Sprintf("%d\n", n)
			if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("%d\n", n) {
				t.Fatalf("%q %v", line, err)
			}
			if e := r.journal.Requests()[0]; !strings.HasSuffix(e.Streams[protocol.Response], fmt.Sprintf("%d\n", n)) {
				t.Errorf("recorded %q", e.Streams)
			}
		}
		_ = answer.Body.Close()
		<-left
		if !r.journal.Await(func(all []protocoltest.Entry) bool { return all[0].Outcome.Status == protocol.Abandoned }) {
			t.Errorf("%+v", r.journal.Requests())
		}
	})
}

// shout masks a document: what is "secret" is upper case.
func shout(document []byte) ([]byte, int, error) {
	if !json.Valid(document) {
		return nil, 0, errors.New("no document")
	}
	return bytes.ReplaceAll(document, []byte("secret"), []byte("SHH")), bytes.Count(document, []byte("secret")), nil
}

func TestAnswersAreMasked(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		var body, encoding string
		r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"of the secret"`)
			if encoding != "" {
				w.Header().Set("Content-Encoding", encoding)
			}
			if r.Header.Get("Accept-Encoding") != "" {
				t.Error("a compressed answer is asked for")
			}
			for piece := range strings.SplitAfterSeq(body, "|") { // in pieces
				_, _ = io.WriteString(w, strings.TrimSuffix(piece, "|"))
				w.(http.Flusher).Flush()
			}
		})
		var masking *Masking
		r.site.Masking = func(*operation.Operation, *http.Response) (*Masking, error) { return masking, nil }
		r.conn = func(c *protocol.Conn) {
			c.Masks = &mask.Set{Detect: []mask.Detection{{Detector: mask.AWSKey, Method: mask.Redact}}}
		}
		client := r.client(t, http2)
		for _, test := range []struct {
			name, body, want, encoding string
			masking                    *Masking
			status                     int
			masked                     int64
		}{
			{"a document", `{"a":"sec|ret","b":"secret"}`, `{"a":"SHH","b":"SHH"}`, "", &Masking{Document: shout}, 200, 2},
			{"no document", `{"a":"sec|ret"`, "", "", &Masking{Document: shout}, 502, 0},
			{"a compressed one", `{"a":"secret"}`, "", "gzip", &Masking{Document: shout}, 502, 0},
			{"documents", `{"a":"sec|ret"} {"b":"secret"}` + "\n|[1]", "{\"a\":\"SHH\"}\n{\"b\":\"SHH\"}\n[1]\n", "", &Masking{Document: shout, Sequence: true}, 200, 2},
			{"a text", "key AKIA|IOSFODNN7EXAMPLE end", "", "", &Masking{Text: true}, 200, 1},
			{"nothing to mask", "secret", "secret", "", nil, 200, 0},
		} {
			body, encoding, masking = test.body, test.encoding, test.masking
			status, header, text, err := do(t, client, "GET", "/"+strings.ReplaceAll(test.name, " ", "-"), "")
			if err != nil || status != test.status || test.want != "" && text != test.want || strings.Contains(text, "AKIAIOSF") {
				t.Errorf("%s: %d %q %v", test.name, status, text, err)
			}
			if test.masking != nil && (header.Get("Etag") != "" || strings.Contains(text, "secret")) {
				t.Errorf("%s: %v %q", test.name, header, text)
			}
			all := r.journal.Requests()
			e := all[len(all)-1]
			if e.Outcome.Masked != test.masked || test.status == 200 && !strings.HasSuffix(e.Streams[protocol.Response], text) {
				t.Errorf("%s: %+v %q", test.name, e.Outcome, e.Streams)
			}
			if test.status != 200 && (e.Outcome.Status != protocol.Refused || len(e.Streams) > 0) {
				t.Errorf("%s: %+v %q", test.name, e.Outcome, e.Streams)
			}
		}
	})
}

// TestBrokenDocumentEndsAWatch shows nothing of it, and no end that a client
// would take for one.
func TestBrokenDocumentEndsAWatch(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"a":1}{"secret`) })
		r.site.Masking = func(*operation.Operation, *http.Response) (*Masking, error) {
			return &Masking{Document: shout, Sequence: true}, nil
		}
		_, _, text, err := do(t, r.client(t, http2), "GET", "/", "")
		if err == nil || strings.Contains(text, "secret") {
			t.Errorf("%q %v", text, err)
		}
	})
}

func TestHeadSaysWhatGetWould(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1234") })
		_, header, text, err := do(t, r.client(t, http2), "HEAD", "/", "")
		if err != nil || text != "" || header.Get("Content-Length") != "1234" {
			t.Errorf("%v %q %v", header, text, err)
		}
		r.site.Masking = func(*operation.Operation, *http.Response) (*Masking, error) { return &Masking{Document: shout}, nil }
		if _, header, _, err = do(t, r.client(t, http2), "HEAD", "/", ""); err != nil || header.Get("Content-Length") != "" {
			t.Errorf("of what is masked: %v %v", header, err)
		}
	})
}
