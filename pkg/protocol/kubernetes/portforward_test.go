package kubernetes_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moby/spdystream"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// forward runs a port-forward to a port of the pod and returns the address that
// it listens on.
func (w *world) forward(t *testing.T, websockets, port string) (address string, cmd *exec.Cmd) {
	t.Helper()
	cmd = w.kubectl(t, websockets, "port-forward", "pod/web", ":"+port)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = &strings.Builder{}
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n') // Forwarding from 127.0.0.1:39999 -> 80
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("%v: %s", err, cmd.Stderr)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return strings.Fields(line)[2], cmd
}

// children returns what was asked of connections, and waits until they ended.
func (w *world) children(t *testing.T, want int) (found []*entry) {
	t.Helper()
	within(t, "the connections end", func() bool {
		found = nil
		for _, e := range w.guard.asked(operation.Forward) {
			w.guard.mu.Lock()
			if e.op.Parent != 0 && e.ended {
				found = append(found, e)
			}
			w.guard.mu.Unlock()
		}
		return len(found) == want
	})
	return found
}

func TestForwardedConnectionsAreRecorded(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello "+r.URL.Path) }))
		defer behind.Close()
		_, port, _ := net.SplitHostPort(behind.Listener.Addr().String())
		address, cmd := w.forward(t, ws, port)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for range 3 {
			answer, err := client.Get("http://" + address + "/x")
			must(t, err)
			body, _ := io.ReadAll(answer.Body)
			if _ = answer.Body.Close(); string(body) != "hello /x" {
				t.Errorf("%q came back", body)
			}
		}
		for _, e := range w.children(t, 3) {
			if !strings.HasPrefix(e.streams[protocol.Input], "GET /x HTTP/1.1") || !strings.HasSuffix(e.streams[protocol.Response], "hello /x") ||
				e.text != "web:"+port || fmt.Sprint(e.op.Kube.Port) != port || e.outcome.Status != protocol.OK {
				t.Errorf("recorded %q %q %+v", e.text, e.streams, e.outcome)
			}
		}
		_ = cmd.Process.Kill()
		within(t, "the port-forward ends", func() bool {
			e := w.guard.asked(operation.Forward)[0]
			w.guard.mu.Lock()
			defer w.guard.mu.Unlock()
			return e.ended && e.outcome.Status == protocol.OK
		})
	})
}

func TestForwardedPortIsDenied(t *testing.T) {
	denied := func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if op.Parent != 0 {
			return protocol.Decision{Rule: "no-ports", Reason: "Not this one."}
		}
		return protocol.Decision{Effect: protocol.Allow}
	}
	eachWay(t, denied, func(t *testing.T, w *world, ws string) {
		reached := false
		behind := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
		defer behind.Close()
		_, port, _ := net.SplitHostPort(behind.Listener.Addr().String())
		address, cmd := w.forward(t, ws, port)
		if answer, err := http.Get("http://" + address + "/x"); err == nil {
			_ = answer.Body.Close()
			t.Errorf("%s came back", answer.Status)
		}
		if e := w.children(t, 1)[0]; e.outcome.Status != protocol.Refused || len(e.streams) > 0 || reached {
			t.Errorf("%q, %+v, reached %v", e.streams, e.outcome, reached)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if said := cmd.Stderr.(*strings.Builder).String(); !strings.Contains(said, "sluice: refused by rule") || !strings.Contains(said, "Not this one.") {
			t.Errorf("kubectl said %q", said)
		}
	})
}

func TestForwardedPortIsClosed(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		address, _ := w.forward(t, ws, "1")
		if answer, err := http.Get("http://" + address + "/x"); err == nil {
			_ = answer.Body.Close()
			t.Errorf("%s came back", answer.Status)
		}
		if e := w.children(t, 1)[0]; e.outcome.Status != protocol.Failed || e.streams[protocol.Errors] != "the port is closed" {
			t.Errorf("%q, %+v", e.streams, e.outcome)
		}
	})
}

// openHalf opens port-forwards and in each as many connections as are taken,
// of one stream each, and returns how many those are.
func (w *world) openHalf(t *testing.T, forwards int) (taken int, leave func()) {
	t.Helper()
	var legs []*spdystream.Connection
	for range forwards {
		conn, status, body := w.raw(t, head("POST", pods+"portforward", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n"))
		if status != http.StatusSwitchingProtocols {
			t.Fatalf("%d %s", status, body)
		}
		leg, err := spdystream.NewConnection(conn, false)
		must(t, err)
		go leg.Serve(spdystream.NoOpStreamHandler)
		legs = append(legs, leg)
		for i := range 65 {
			stream, err := leg.CreateStream(http.Header{"Streamtype": {"error"}, "Port": {"80"}, "Requestid": {fmt.Sprint(i)}}, nil, false)
			must(t, err)
			if stream.WaitTimeout(20*time.Second) == nil {
				taken++
			}
		}
	}
	return taken, func() {
		for _, leg := range legs {
			_ = leg.Close()
		}
	}
}

// One workload's connections have a bound, over all of its port-forwards, and
// give their places back.
func TestForwardedConnectionsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	const places, forwards, each = 512, 8, 64
	taken, leave := w.openHalf(t, forwards)
	if taken != places-forwards {
		t.Errorf("%d connections were taken, and there are %d places", taken, places)
	}
	leave()
	within(t, "the port-forwards end", func() bool {
		w.guard.mu.Lock()
		defer w.guard.mu.Unlock()
		for _, e := range w.guard.ops {
			if !e.ended {
				return false
			}
		}
		return true
	})
	if taken, _ := w.openHalf(t, forwards-2); taken != (forwards-2)*each {
		t.Errorf("%d connections were taken after the others had ended", taken)
	}
}
