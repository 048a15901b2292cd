package kubernetes_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// ran is what a client printed, and how it ended.
type ran struct {
	out, errs string
	status    int
}

func run(t *testing.T, cmd *exec.Cmd, stdin string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// eachWay runs a test over SPDY and over WebSocket.
func eachWay(t *testing.T, decide deciding, test func(t *testing.T, w *world, websockets string)) {
	t.Helper()
	for name, websockets := range ways {
		t.Run(name, func(t *testing.T) { test(t, newWorld(t, decide), websockets) })
	}
}

func TestProgramsStreamsAreRecorded(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		got := run(t, w.kubectl(t, ws, "exec", "-i", "web", "--", "sh", "-c", "cat; echo oops >&2; exit 3"), "hello\n")
		if got.out != "hello\n" || !strings.HasPrefix(got.errs, "oops\n") || got.status != 3 {
			t.Errorf("%+v", got)
		}
		e := w.guard.one(t, operation.Exec)
		if e.streams[protocol.Input] != "hello\n" || e.streams[protocol.Response] != "hello\n" || e.streams[protocol.Errors] != "oops\n" ||
			e.outcome.Status != protocol.Failed || e.outcome.Code != "exit 3" {
			t.Errorf("recorded %q, %+v", e.streams, e.outcome)
		}
		if k := e.op.Kube; k == nil || k.Name != "web" || strings.Join(k.Command, " ") != "sh -c cat; echo oops >&2; exit 3" {
			t.Errorf("asked about %+v", k)
		}
		for _, r := range w.server.requests {
			if strings.Contains(fmt.Sprint(r.Header), "the-jobs") || r.Header.Get("Authorization") != "Bearer the-agents" {
				t.Errorf("%s: %v", r.URL.Path, r.Header)
			}
		}
	})
}

func TestDeniedProgramIsNotRun(t *testing.T) {
	eachWay(t, func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) protocol.Decision {
		if op.Kind == operation.Exec {
			return protocol.Decision{Rule: "no-exec", Reason: "Not here."}
		}
		return protocol.Decision{Effect: protocol.Allow}
	}, func(t *testing.T, w *world, ws string) {
		got := run(t, w.kubectl(t, ws, "exec", "web", "--", "touch", "/nowhere/x"), "")
		if got.status != 1 || !strings.Contains(got.errs, `sluice: refused by rule "no-exec": Not here.`) {
			t.Errorf("%+v", got)
		}
		for _, r := range w.server.requests {
			if strings.HasSuffix(r.URL.Path, "/exec") {
				t.Errorf("the server was asked for %s", r.URL)
			}
		}
	})
}

// hold waits for an answer to what it holds.
func hold(answer chan protocol.Decision) deciding {
	return func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) protocol.Decision {
		if op.Kind == operation.Request {
			return protocol.Decision{Effect: protocol.Allow}
		}
		waiting(protocol.Waiting{Approval: 7, Rule: "ask"})
		select {
		case d := <-answer:
			return d
		case <-ctx.Done():
			return protocol.Decision{}
		}
	}
}

func TestHeldProgramWaitsForItsApproval(t *testing.T) {
	answer := make(chan protocol.Decision)
	eachWay(t, hold(answer), func(t *testing.T, w *world, ws string) {
		cmd := w.kubectl(t, ws, "exec", "-i", "web", "--", "sh", "-c", "cat; exit 4")
		go func() {
			within(t, "it is asked", func() bool { return len(w.guard.asked(operation.Exec)) == 1 })
			<-time.After(300 * time.Millisecond) // the client's streams and input come meanwhile
			answer <- protocol.Decision{Effect: protocol.Allow, Approval: 7, Decider: "ann"}
		}()
		got := run(t, cmd, "early")
		if got.out != "early" || got.status != 4 || !strings.HasPrefix(got.errs, "sluice: waiting for approval #7 by rule \"ask\"\nsluice: approval #7: approved by ann\n") {
			t.Errorf("%+v", got)
		}
	})
}

func TestHeldProgramIsDenied(t *testing.T) {
	answer := make(chan protocol.Decision)
	eachWay(t, hold(answer), func(t *testing.T, w *world, ws string) {
		go func() { answer <- protocol.Decision{Approval: 7, Decider: "ann", Rule: "ask", Reason: "No."} }()
		got := run(t, w.kubectl(t, ws, "exec", "-i", "web", "--", "cat"), "early")
		if got.out != "" || got.status != 1 || !strings.Contains(got.errs, "waiting for approval #7") ||
			!strings.Contains(got.errs, `error: sluice: refused by rule "ask", approval #7, decided by ann: No.`) {
			t.Errorf("%+v", got)
		}
		if e := w.guard.one(t, operation.Exec); e.outcome.Status != protocol.Refused || len(e.streams) > 0 || w.server.counted() > 0 {
			t.Errorf("%+v", e)
		}
	})
}

func TestHeldProgramsClientLeaves(t *testing.T) {
	eachWay(t, hold(nil), func(t *testing.T, w *world, ws string) {
		cmd := w.kubectl(t, ws, "exec", "-i", "web", "--", "cat")
		stdin, err := cmd.StdinPipe()
		must(t, err)
		must(t, cmd.Start())
		_, _ = io.WriteString(stdin, "early")
		within(t, "it is asked", func() bool { return len(w.guard.asked(operation.Exec)) == 1 })
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if e := w.guard.one(t, operation.Exec); e.outcome.Status != protocol.Abandoned {
			t.Errorf("%+v", e.outcome)
		}
	})
}

func TestProgramEndsWithItsClient(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		cmd := w.kubectl(t, ws, "exec", "-i", "web", "--", "sh", "-c", "echo began; cat")
		stdin, err := cmd.StdinPipe()
		must(t, err)
		defer stdin.Close()
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		_, err = io.ReadFull(out, make([]byte, 6))
		must(t, err)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		within(t, "the program ends", func() bool { return w.server.counted() == 0 })
		if e := w.guard.one(t, operation.Exec); e.outcome.Status != protocol.Abandoned {
			t.Errorf("%+v", e.outcome)
		}
	})
}

func TestServerThatLeavesIsNoSuccess(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		w.server.speak(func(net.Conn) { <-time.After(300 * time.Millisecond) })
		got := run(t, w.kubectl(t, ws, "exec", "web", "--", "true"), "")
		if got.status != 1 || !strings.Contains(got.errs, "sluice: the server is gone") {
			t.Errorf("%+v", got)
		}
		if e := w.guard.one(t, operation.Exec); e.outcome.Status != protocol.Abandoned {
			t.Errorf("%+v", e.outcome)
		}
	})
}

func TestStoppedProgramsClientIsToldWhy(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		w.mu.Lock()
		w.conn.Stopped = func() string { return "stopped by ann" }
		w.mu.Unlock()
		go func() {
			within(t, "it runs", func() bool { return w.server.counted() == 1 })
			w.stop(protocol.ErrStopped)
		}()
		cmd := w.kubectl(t, ws, "exec", "-i", "web", "--", "cat")
		_, err := cmd.StdinPipe()
		must(t, err)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "sluice: stopped by ann") {
			t.Errorf("%s", out)
		}
		within(t, "the program ends", func() bool { return w.server.counted() == 0 })
	})
}

func TestServersRefusalReachesTheClient(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		w.server.refuse(404)
		got := run(t, w.kubectl(t, ws, "exec", "web", "--", "true"), "")
		if got.status != 1 || !strings.Contains(got.errs, "the kubelet says no") {
			t.Errorf("%+v", got)
		}
		for _, e := range w.guard.asked(operation.Exec) {
			if e.outcome.Status != protocol.Failed || e.outcome.Code != "404" || e.streams[protocol.Response] != "the kubelet says no" {
				t.Errorf("%+v, %q", e.outcome, e.streams)
			}
		}
	})
}

func TestSecretsOfAProgramAreHidden(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		w.mu.Lock()
		w.conn.Masks = &mask.Set{Detect: []mask.Detection{{Detector: mask.AWSKey, Method: mask.Redact}}}
		w.mu.Unlock()
		script := "printf 'key AKIAIOSF'; sleep 0.05; printf 'ODNN7EXAMPLE end\n'; echo AKIAIOSFODNN7EXAMPLE >&2"
		got := run(t, w.kubectl(t, ws, "exec", "web", "--", "sh", "-c", script), "")
		if strings.Contains(got.out+got.errs, "AKIA") || !strings.Contains(got.out, "end") || got.status != 0 {
			t.Errorf("%+v", got)
		}
		for _, r := range w.server.requests {
			if strings.HasSuffix(r.URL.Path, "/exec") && r.Header.Get("Accept") != "" { // a kubelet would answer 406
				t.Errorf("the server is asked for %q", r.Header.Get("Accept"))
			}
		}
		if e := w.guard.one(t, operation.Exec); e.streams[protocol.Response] != got.out || e.outcome.Masked != 2 {
			t.Errorf("recorded %q, %d masked", e.streams, e.outcome.Masked)
		}
	})
}

func TestMuchPassesBothDirections(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		const bytes = 64 << 20
		cmd := w.kubectl(t, ws, "exec", "-i", "web", "--", "cat")
		cmd.Stdin = io.LimitReader(zeros{}, bytes)
		counted := &counter{}
		cmd.Stdout = counted
		must(t, cmd.Run())
		e := w.guard.one(t, operation.Exec)
		if counted.n != bytes || e.sizes[protocol.Input] != bytes || e.sizes[protocol.Response] != bytes {
			t.Errorf("%d bytes came back, recorded %v", counted.n, e.sizes)
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type counter struct{ n int }

func (c *counter) Write(b []byte) (int, error) { c.n += len(b); return len(b), nil }

func TestAttachIsRecorded(t *testing.T) {
	eachWay(t, nil, func(t *testing.T, w *world, ws string) {
		got := run(t, w.kubectl(t, ws, "attach", "-i", "web"), "typed\n")
		if got.out != "typed\n" || got.status != 0 {
			t.Errorf("%+v", got)
		}
		if e := w.guard.one(t, operation.Shell); e.streams[protocol.Input] != "typed\n" || e.outcome.Status != protocol.OK {
			t.Errorf("recorded %q, %+v", e.streams, e.outcome)
		}
	})
}
