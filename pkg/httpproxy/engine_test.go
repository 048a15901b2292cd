package httpproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

func do(t *testing.T, client *http.Client, method, path, body string) (status int, header http.Header, text string, err error) {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, "https://server.example"+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer the-jobs")
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, string(all), err
}

func TestRequestIsAskedAboutSentOnceAndRecorded(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Set-Cookie", "the-servers=1")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(r.Method + " " + r.RequestURI + " " + string(body) + " " + r.Header.Get("Cookie") + r.Header.Get("X-Forwarded-For")))
		})
		status, header, text, err := do(t, r.client(t, http2), "POST", "/a%2Fb?c=d", `{"e":1}`)
		if err != nil || status != 201 || text != `POST /a%2Fb?c=d {"e":1} ` || header.Get("Set-Cookie") != "" {
			t.Fatalf("%d %v %q %v", status, header, text, err)
		}
		all := r.journal.Entries()
		if len(all) != 2 || all[0].Op.Kind != operation.Connect || all[0].Outcome.Status != protocol.OK {
			t.Fatalf("%+v", all)
		}
		e := all[1]
		if e.Text != "POST /a%2Fb?c=d\nContent-Type: application/json\n\n{\"e\":1}" || string(e.Op.Bytes) != e.Text {
			t.Errorf("asked about %q", e.Text)
		}
		if got, want := e.Streams[protocol.Response], "201 Created\nContent-Type: text/plain\n\n"+text; got != want {
			t.Errorf("recorded %q, want %q", got, want)
		}
		if e.Outcome.Status != protocol.OK || e.Outcome.Code != "201" || e.Op.HTTP.Path != "/a/b" {
			t.Errorf("%+v", e.Outcome)
		}
	})
}

func TestRefusedRequestNeverReachesTheServer(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(_ http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				t.Error("it reached the server")
			}
		})
		r.journal.Decide = func(_ context.Context, op *operation.Operation) protocol.Decision {
			if op.HTTP != nil && op.HTTP.Method == http.MethodDelete {
				return protocol.Decision{Rule: `a"b\c`, Reason: "no"}
			}
			return protocol.Decision{Effect: protocol.Allow, Approval: 3, Decider: "kim"}
		}
		client := r.client(t, http2)
		status, header, text, err := do(t, client, "DELETE", "/x", "")
		if err != nil || status != 403 || !strings.Contains(text, "refused by rule") || !strings.HasPrefix(header.Get("Warning"), `299 sluice "sluice: refused by rule \"a\\\"`) {
			t.Errorf("%d %q %q %v", status, header.Get("Warning"), text, err)
		}
		status, header, _, err = do(t, client, "GET", "/x", "")
		if err != nil || status != 200 || header.Get("Warning") != `299 sluice "sluice: approval #3: approved by kim"` {
			t.Errorf("the session went on with %d %q %v", status, header.Get("Warning"), err)
		}
	})
}

func TestRefusedLoginDialsNobody(t *testing.T) {
	r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
	r.journal.Decide = func(context.Context, *operation.Operation) protocol.Decision {
		return protocol.Decision{Rule: "nobody"}
	}
	client := r.client(t, true)
	for range 2 {
		status, _, text, err := do(t, client, "GET", "/", "")
		if err != nil || status != 403 || !strings.Contains(text, `"nobody"`) {
			t.Errorf("%d %q %v", status, text, err)
		}
	}
	if n := len(r.journal.Entries()); n != 1 || r.dials.Load() != 0 {
		t.Errorf("%d questions, %d connections", n, r.dials.Load())
	}
}

// TestClientThatLeavesAHeldWriteWithdrawsIt is for both ways of leaving: a
// stream that is reset and a connection that is closed.
func TestClientThatLeavesAHeldWriteWithdrawsIt(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
		held := make(chan struct{})
		r.journal.Decide = func(ctx context.Context, op *operation.Operation) protocol.Decision {
			if op.Kind == operation.Connect {
				return protocol.Decision{Effect: protocol.Allow}
			}
			close(held)
			<-ctx.Done()
			return protocol.Decision{Effect: protocol.Allow}
		}
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, "POST", "https://server.example/", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		go func() { <-held; cancel() }()
		answer, err := r.client(t, http2).Do(request)
		if err == nil {
			_ = answer.Body.Close()
			t.Error("it was answered")
		}
		if !r.journal.Await(func(all []protocoltest.Entry) bool {
			return len(all) == 1 && all[0].Outcome.Status == protocol.Abandoned
		}) {
			t.Errorf("%+v", r.journal.Requests())
		}
	})
}

func TestPersonsStopIsTold(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the server") })
		r.conn = func(c *protocol.Conn) { c.Stopped = func() string { return "kim ordered kill: enough" } }
		client, ended, stop := r.open(t)
		held := make(chan struct{})
		r.journal.Decide = func(ctx context.Context, op *operation.Operation) protocol.Decision {
			if op.Kind != operation.Connect {
				close(held)
				<-ctx.Done()
			}
			return protocol.Decision{Effect: protocol.Allow}
		}
		go func() { <-held; stop(protocol.ErrStopped) }()
		h := r.client(t, http2)
		h.Transport.(*http.Transport).DialContext = dialled(client)
		status, _, text, err := do(t, h, "GET", "/", "")
		if err != nil || status != 403 || !strings.Contains(text, "kim ordered kill: enough") {
			t.Errorf("%d %q %v", status, text, err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(soon):
			t.Error("the session goes on")
		}
	})
}

func TestAnswerThatIsNotRecordedIsNotShown(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		for name, handler := range map[string]http.HandlerFunc{
			"short": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secret")) },
			"streamed": func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				_, _ = w.Write([]byte("secret"))
			},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, handler)
				disk := errors.New("disk")
				r.journal.Fail = func(*operation.Operation, protocol.Stream) error { return disk }
				client, ended, _ := r.open(t)
				h := r.client(t, http2)
				h.Transport.(*http.Transport).DialContext = dialled(client)
				_, _, text, _ := do(t, h, "GET", "/", "")
				if strings.Contains(text, "secret") {
					t.Errorf("the client saw %q", text)
				}
				select {
				case err := <-ended:
					if !errors.Is(err, disk) {
						t.Errorf("the session ended with %v", err)
					}
				case <-time.After(soon):
					t.Error("the session goes on")
				}
			})
		}
	})
}
