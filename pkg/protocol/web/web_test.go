package web_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/protocol/web"
	"github.com/sluicegate/sluice/pkg/session"
)

func TestWebKeepsWhatEveryPluginPromises(t *testing.T) {
	signs, _ := authority(t)
	protocoltest.Conform(t, protocoltest.Plugin{
		New:   func() (protocol.Protocol, error) { return web.New(web.Options{}), nil },
		Opens: []string{"tls", "http"},
		Conn: func(c *protocol.Conn) {
			c.ClientTLS = signs.Config([]string{host}, netip.MustParseAddr("127.0.0.1"))
		},
	})
}

func TestWebPassesAllThatIsObserved(t *testing.T) {
	protocoltest.Observes(t, web.New(web.Options{}))
}

func TestWhatCannotBeHonouredIsAnError(t *testing.T) {
	plugin := web.New(web.Options{})
	for want, conn := range map[string]*protocol.Conn{
		"trust.ca_file is missing": {Masks: &mask.Set{}},
		"has no columns":           {Masks: &mask.Set{Columns: []mask.Column{{Mask: "pii"}}}, ClientTLS: &tls.Config{}},
		"has no kinds":             {Masks: &mask.Set{Kinds: []mask.Kind{{Mask: "pii"}}}, ClientTLS: &tls.Config{}},
	} {
		conn.Session = &session.Session{}
		if err := plugin.Serve(t.Context(), conn); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
}

func TestRequestIsDecidedByWhatItSaysAndRecorded(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		w := serve(t, echo, nil)
		got := do(t, w.client(t, http2), "POST", "/v1/deploy?env=prod", `{"image":"web:1"}`, "Content-Type: application/json", "X-Tenant: shop", "Idempotency-Key: 7")
		if got.err != nil || got.status != 200 || got.body != `POST /v1/deploy?env=prod {"image":"web:1"}` {
			t.Fatalf("%+v", got)
		}
		e := w.journal.Requests()[0]
		want := operation.HTTP{Method: "POST", Host: host, Path: "/v1/deploy", Query: "env=prod"}
		have := *e.Op.HTTP
		have.Body = nil
		if fmt.Sprint(have) != fmt.Sprint(want) || string(e.Op.HTTP.Body.Reveal()) != `{"image":"web:1"}` || !e.Op.Parsed || e.Op.ReadOnly {
			t.Errorf("asked about %+v, parsed %v, read-only %v", have, e.Op.Parsed, e.Op.ReadOnly)
		}
		for _, part := range []string{"POST /v1/deploy?env=prod\nHost: " + host, "\nX-Tenant: shop\n", "\nIdempotency-Key: 7\n", "\n\n{\"image\":\"web:1\"}"} {
			if !strings.Contains(e.Text, part) || !bytes.Contains(e.Op.Bytes, []byte(part)) {
				t.Errorf("%q is not in %q", part, e.Text)
			}
		}
		if at := w.requests()[0]; at.Header.Get("X-Tenant") != "shop" || !strings.Contains(at.UserAgent(), "sluice/") {
			t.Errorf("the server got %v", at.Header)
		}
	})
}

// TestRefusedRequestNeverReachesTheServer says so in the client's words.
func TestRefusedRequestNeverReachesTheServer(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		w := serve(t, echo, nil)
		w.journal.Decide = func(_ context.Context, op *operation.Operation) protocol.Decision {
			if op.HTTP != nil && op.HTTP.Method == http.MethodDelete {
				return protocol.Decision{Rule: "nothing-is-deleted", Reason: "Not by\r\na pipeline.", Approval: 3, Decider: "ada"}
			}
			return protocol.Decision{Effect: protocol.Allow}
		}
		client := w.client(t, http2)
		for _, accept := range []string{"*/*", "application/json", "text/html, application/problem+json;q=0.5"} {
			got := do(t, client, "DELETE", "/v1/releases/1", "", "Accept: "+accept)
			if got.status != 403 || got.header.Get("Sluice-Rule") != "nothing-is-deleted" || got.header.Get("Sluice-Reason") != "Not by  a pipeline." && got.header.Get("Sluice-Reason") != "Not by a pipeline." || got.header.Get("Sluice-Approval") != "3" {
				t.Errorf("%+v", got)
			}
			var said struct {
				Error, Rule, Reason string
				Approval            int
			}
			if isJSON := json.Unmarshal([]byte(got.body), &said) == nil; isJSON != strings.Contains(accept, "json") {
				t.Errorf("%s: %s", accept, got.body)
			} else if isJSON && (said.Rule != "nothing-is-deleted" || said.Approval != 3 || !strings.Contains(said.Error, "decided by ada")) {
				t.Errorf("%s: %+v", accept, said)
			}
		}
		if got := do(t, client, "GET", "/v1/releases/1", ""); got.status != 200 {
			t.Errorf("the session went on with %+v", got)
		}
		if all := w.requests(); len(all) != 1 {
			t.Errorf("the server got %d requests", len(all))
		}
	})
}

func TestHeldRequestGoesOnOnceAPersonAllowsIt(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		w := serve(t, echo, nil)
		asked, answer := make(chan struct{}), make(chan protocol.Decision)
		w.journal.Decide = func(_ context.Context, op *operation.Operation) protocol.Decision {
			if op.Kind == operation.Connect {
				return protocol.Decision{Effect: protocol.Allow}
			}
			close(asked)
			return <-answer
		}
		done := make(chan answered)
		client := w.client(t, http2)
		go func() { done <- do(t, client, "POST", "/v1/deploy", "x") }()
		<-asked
		if len(w.requests()) != 0 {
			t.Error("it did not wait")
		}
		answer <- protocol.Decision{Effect: protocol.Allow, Approval: 9, Decider: "ada"}
		if got := <-done; got.status != 200 || !strings.Contains(got.header.Get("Warning"), "approved by ada") {
			t.Errorf("%+v", got)
		}
	})
}

// TestRealClientsAreServed has curl and Python's two as jobs use them.
func TestRealClientsAreServed(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"path":%q,"proto":%q}`, r.URL.Path, r.Proto)
	}, nil)
	for _, args := range [][]string{
		{"--http1.1", "https://" + host + "/v1/a"},
		{"--http2", "https://" + host + "/v1/a"},
		{"--http2", "--compressed", "-d", "a=b", "https://" + host + "/v1/a"},
		{"--http1.1", "-H", "Expect: 100-continue", "-d", "a=b", "https://" + host + "/v1/a"},
		{"--http1.1", "-F", "f=@/etc/hostname", "https://" + host + "/v1/a"},
	} {
		if out, err := w.curl(t, args...); err != nil || !strings.Contains(out, `"path":"/v1/a"`) {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	const script = `
import json, ssl, sys, http.client
c = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=ssl.create_default_context(cafile=sys.argv[2]))
for n in range(3):
    c.request("POST" if n else "GET", "/v1/a", headers={"Host": "api.example", "Cookie": "a=b"}, body=json.dumps({"n": "é"}) if n else None)
    r = c.getresponse()
    assert r.status == 200 and json.load(r)["path"] == "/v1/a", r.status
print("well")
`
	_, port, _ := strings.Cut(w.address, ":")
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", script, port, w.caFile).CombinedOutput(); err != nil || !strings.Contains(string(out), "well") {
		t.Errorf("%v: %s", err, out)
	}
	for _, e := range w.journal.Requests() {
		if !e.Op.Parsed {
			t.Errorf("what an ordinary client sends is not understood: %q", e.Text)
		}
	}
	w.nowhere(t, jobToken, agentToken)
}

// TestServiceWithoutTLSIsReachedAsItIs by a client that writes http, while one
// of a service with TLS is told what to write.
func TestServiceWithoutTLSIsReachedAsItIs(t *testing.T) {
	w := serveOver(t, echo, false, nil)
	for _, scheme := range []string{"http", "https"} {
		if out, err := w.curl(t, scheme+"://"+host+"/v1/a"); err != nil || out != "GET /v1/a " {
			t.Errorf("%s: %v: %s", scheme, err, out)
		}
	}
	if got := w.requests()[0]; got.Header.Get("Authorization") != "Bearer "+agentToken {
		t.Errorf("the server got %v", got.Header)
	}
	secure := serve(t, echo, nil)
	if out, err := secure.curl(t, "http://"+host+"/v1/a"); err != nil || !strings.Contains(out, "write https") {
		t.Errorf("%v: %s", err, out)
	}
}
