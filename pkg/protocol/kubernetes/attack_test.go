package kubernetes_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/kubernetes"
)

const (
	openSPDY      = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
	openWebSocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
	offerV5       = "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
	pods          = "/api/v1/namespaces/shop/pods/web/"
	catPath       = pods + "exec?command=cat&stdin=true&stdout=true&stderr=true"
)

// raw sends a request and returns the connection with its answer.
func (w *world) raw(t *testing.T, request string) (conn *tls.Conn, status int, body string) {
	t.Helper()
	conn, err := tls.Dial("tcp", w.front, &tls.Config{RootCAs: w.roots, ServerName: "127.0.0.1"})
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(conn, request)
	must(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	if answer.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(answer.Body)
		body = string(text)
	}
	must(t, answer.Body.Close())
	return conn, answer.StatusCode, body
}

func head(method, path, fields string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: kube\r\n" + fields + "\r\n"
}

// TestUpgradesThatCannotBeRecordedAreRefused asks in all ways but the right ones.
func TestUpgradesThatCannotBeRecordedAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for name, request := range map[string]string{
		"a proxied pod":            head("GET", "/api/v1/namespaces/shop/pods/web/proxy/", openWebSocket+offerV5),
		"a proxied service":        head("GET", "/api/v1/namespaces/shop/services/web/proxy/x", openWebSocket+offerV5),
		"a proxied node":           head("POST", "/api/v1/nodes/n/proxy/exec/shop/web/main?command=id", openSPDY),
		"an upgrade of a list":     head("GET", "/api/v1/namespaces/shop/pods", openWebSocket+offerV5),
		"an upgrade of a log":      head("GET", pods+"log?follow=true", openWebSocket+offerV5),
		"no offer":                 head("GET", catPath, openWebSocket),
		"channel.k8s.io":           head("GET", catPath, openWebSocket+"Sec-WebSocket-Protocol: channel.k8s.io\r\n"),
		"base64.channel.k8s.io":    head("GET", catPath, openWebSocket+"Sec-WebSocket-Protocol: base64.channel.k8s.io, v4.base64.channel.k8s.io\r\n"),
		"an old version of SPDY":   head("POST", catPath, "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v3.channel.k8s.io\r\n"),
		"SPDY of another kind":     head("POST", catPath, strings.Replace(openSPDY, "3.1", "2", 1)),
		"two upgrades":             head("GET", catPath, strings.Replace(openWebSocket, "websocket", "websocket, SPDY/3.1", 1)+offerV5),
		"a WebSocket by POST":      head("POST", catPath, openWebSocket+offerV5+"Content-Length: 0\r\n"),
		"a WebSocket without key":  head("GET", catPath, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+offerV5),
		"a WebSocket of old":       head("GET", catPath, strings.Replace(openWebSocket, "13", "8", 1)+offerV5),
		"ports over channels":      head("GET", pods+"portforward?ports=80", openWebSocket+"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"),
		"a body":                   head("POST", catPath, openSPDY+"Content-Length: 2\r\n") + "{}",
		"another protocol":         head("GET", catPath, "Connection: Upgrade\r\nUpgrade: tcp\r\n"),
		"more than can be offered": head("GET", catPath, openWebSocket+"Sec-WebSocket-Protocol: "+strings.Repeat("v5.channel.k8s.io, ", 40)+"x\r\n"),
	} {
		if _, status, body := w.raw(t, request); status < 400 || status > 501 || !strings.Contains(body, "sluice: ") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for _, r := range w.server.requests {
		t.Errorf("the server was asked for %s", r.URL)
	}
}

// TestExecIsDeniedInEveryForm tries to come past a rule.
func TestExecIsDeniedInEveryForm(t *testing.T) {
	w := newWorld(t, func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if op.Kube != nil && op.Kube.Resource == "pods" && op.Kube.Subresource == "exec" {
			return protocol.Decision{Rule: "no-exec"}
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	for _, request := range []string{
		head("GET", catPath, openWebSocket+offerV5),
		head("POST", catPath, openSPDY),
		head("GET", catPath, openSPDY),
		head("POST", catPath, "Content-Length: 0\r\n"),
		head("GET", catPath, ""),
		head("GET", catPath, "Upgrade: websocket\r\n"),
		head("POST", strings.ToUpper(catPath[:4])+catPath[4:], openSPDY),
		head("POST", strings.Replace(catPath, "/exec", "/%65xec", 1), openSPDY),
		head("POST", strings.Replace(catPath, "/exec", "/x/../exec", 1), openSPDY),
		head("POST", strings.Replace(catPath, "/exec", "//exec", 1), openSPDY),
	} {
		if _, status, _ := w.raw(t, request); status < 400 {
			t.Errorf("%q: %d", request, status)
		}
	}
	if n := w.server.counted(); n > 0 {
		t.Errorf("%d programs run", n)
	}
}

// TestClientThatBreaksTheProtocolEnds speaks wrongly once it was let in. What it
// began ends with it.
func TestClientThatBreaksTheProtocolEnds(t *testing.T) {
	for name, attack := range map[string]struct{ request, text string }{
		"no SPDY":                 {head("POST", catPath, openSPDY), "hello, this is not SPDY at all"},
		"SPDY in a WebSocket":     {head("GET", catPath, openWebSocket+offerV5), string(kubernetes.NewFraming("spdy", true).Open(nil, 1, map[string]string{"streamtype": "stdin"}))},
		"a WebSocket in SPDY":     {head("POST", catPath, openSPDY), string(ws(0x82, "\x00hello, server"))},
		"an unknown stream":       {head("POST", catPath, openSPDY), spdyStreams("error", "sudo")},
		"two of one kind":         {head("POST", catPath, openSPDY), spdyStreams("error", "stdin", "stdout", "stdout")},
		"words in the program's":  {head("GET", catPath, openWebSocket+offerV5), string(ws(0x82, "\x01I am the program"))},
		"a status of its own":     {head("GET", catPath, openWebSocket+offerV5), string(ws(0x82, "\x03{}"))},
		"a size that is none":     {head("GET", catPath, openWebSocket+offerV5), string(ws(0x82, "\x04{\"Width\":-1}"))},
		"a size without end":      {head("GET", catPath, openWebSocket+offerV5), strings.Repeat(string(ws(0x82, "\x04"+strings.Repeat("{", 100))), 4)},
		"a port that is none":     {head("POST", pods+"portforward", strings.Replace(openSPDY, "v4.channel", "portforward", 1)), spdyPort("error", "70000")},
		"data without its errors": {head("POST", pods+"portforward", strings.Replace(openSPDY, "v4.channel", "portforward", 1)), spdyPort("other", "80")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			conn, status, _ := w.raw(t, attack.request)
			if status != http.StatusSwitchingProtocols {
				t.Fatal(status)
			}
			_, err := io.WriteString(conn, attack.text)
			must(t, err)
			w.violated(t, protocol.ClientLeg)
			within(t, "the program ends", func() bool { return w.server.counted() == 0 })
		})
	}
}

func spdyStreams(types ...string) string {
	f, text := kubernetes.NewFraming("spdy", true), []byte{}
	for i, name := range types {
		text = f.Open(text, uint32(2*i+1), map[string]string{"streamtype": name})
	}
	return string(text)
}

func spdyPort(kind, port string) string {
	return string(kubernetes.NewFraming("spdy", true).Open(nil, 1, map[string]string{"streamtype": kind, "port": port, "requestid": "0"}))
}

// TestServerThatBreaksTheProtocolEnds has a server that speaks wrongly.
func TestServerThatBreaksTheProtocolEnds(t *testing.T) {
	for name, text := range map[string]string{
		"a masked frame": string(ws(0x82, "\x01hello")), "a message on stdin": "\x82\x02\x00x", "a channel of its own": "\x82\x02\x09x",
		"a status without end": strings.Repeat("\x82\x7e\x40\x00\x03"+strings.Repeat("{", 0x3fff), 5),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.server.speak(func(conn net.Conn) {
				_, _ = io.WriteString(conn, text)
				_, _ = io.Copy(io.Discard, conn)
			})
			got := run(t, w.kubectl(t, "true", "exec", "web", "--", "true"), "")
			if got.status != 1 || !strings.Contains(got.errs, "sluice: ") {
				t.Errorf("%+v", got)
			}
			w.violated(t, protocol.ServerLeg)
		})
	}
}

// TestClientThatReadsNothingHoldsUpItself runs what prints without end.
func TestClientThatReadsNothingHoldsUpItself(t *testing.T) {
	w := newWorld(t, nil)
	conn, status, _ := w.raw(t, head("GET", pods+"exec?command=yes&stdout=true", openWebSocket+offerV5))
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	size := func() int {
		e := w.guard.asked(operation.Exec)[0]
		w.guard.mu.Lock()
		defer w.guard.mu.Unlock()
		return e.sizes[protocol.Response]
	}
	last := -1
	within(t, "it stands still", func() bool {
		before := last
		last = size()
		<-time.After(300 * time.Millisecond)
		return last == before && last > 0
	})
	if last > 32<<20 {
		t.Errorf("%d bytes passed to nobody", last)
	}
	for range 50000 { // pings without end are not answered without end
		if _, err := conn.Write(ws(0x89, "ping")); err != nil {
			t.Fatal(err)
		}
	}
	must(t, conn.Close())
	if e := w.guard.one(t, operation.Exec); e.outcome.Status != protocol.Abandoned {
		t.Errorf("%+v", e.outcome)
	}
}

// TestInputBeforeTheDecisionIsBounded sends much while it waits, and leaves.
func TestInputBeforeTheDecisionIsBounded(t *testing.T) {
	w := newWorld(t, hold(nil))
	conn, status, _ := w.raw(t, head("GET", catPath, openWebSocket+offerV5))
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	piece, sent := ws(0x82, "\x00"+strings.Repeat("x", 100)), 0
	must(t, conn.SetWriteDeadline(time.Now().Add(3*time.Second)))
	for ; sent < 64<<20; sent += len(piece) {
		if _, err := conn.Write(piece); err != nil {
			break
		}
	}
	if sent >= 64<<20 {
		t.Error("it was all taken")
	}
	must(t, conn.NetConn().(*net.TCPConn).SetLinger(0))
	_ = conn.NetConn().Close()
	if e := w.guard.one(t, operation.Exec); e.outcome.Status != protocol.Abandoned || len(e.streams) > 0 {
		t.Errorf("%+v, %v", e.outcome, e.sizes)
	}
}
