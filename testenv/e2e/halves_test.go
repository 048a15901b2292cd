package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// agentPID is the privileged half's process.
func agentPID(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Processes map[string]struct{ PID int } }
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	return state.Processes["agent"].PID
}

// proxyPID is the process that serves.
func proxyPID(t *testing.T) int {
	t.Helper()
	agent := agentPID(t)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", agent, agent))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(children))
	if len(fields) != 1 {
		t.Fatalf("the agent has the children %v", fields)
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// status reads /proc/PID/task/TID/status of every thread.
func status(t *testing.T, pid int) []map[string]string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("process %d has the threads %v, %v", pid, files, err)
	}
	var threads []map[string]string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // a thread that ended
		}
		if err != nil {
			t.Fatal(err)
		}
		thread := map[string]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			thread[key] = strings.Join(strings.Fields(value), " ")
		}
		threads = append(threads, thread)
	}
	return threads
}

// TestProxyHasNoPrivilege reads what the kernel says of both halves.
func TestProxyHasNoPrivilege(t *testing.T) {
	const none = "0000000000000000"
	for _, thread := range status(t, proxyPID(t)) {
		for key, want := range map[string]string{
			"Uid": "64532 64532 64532 64532", "Gid": "64532 64532 64532 64532", "Groups": "",
			"CapEff": none, "CapPrm": none, "CapInh": none, "CapBnd": none, "CapAmb": none,
			"NoNewPrivs": "1", "Seccomp": "2",
		} {
			if thread[key] != want {
				t.Errorf("thread %s of the proxy has %s %q, want %q", thread["Pid"], key, thread[key], want)
			}
		}
	}
	for _, thread := range status(t, agentPID(t)) {
		if thread["CapEff"] == none || !strings.HasPrefix(thread["Uid"], "0 ") {
			t.Errorf("the privileged half has no privilege: %v", thread)
		}
	}
	if logged(t, `"proxy_accepts":true`) == 0 {
		t.Error("with all that, the proxy cannot accept connections by itself")
	}
}

// TestKilledProxyIsReplaced kills the proxy in the middle of an answer.
func TestKilledProxyIsReplaced(t *testing.T) {
	old := proxyPID(t)
	cut := labCommand(append([]string{"job", "--"}, psqlArgs("SELECT i, pg_sleep(0.01) FROM generate_series(1, 100000) i")...)...)
	var out strings.Builder
	cut.Stdout, cut.Stderr = &out, &out
	if err := cut.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer has begun", func() bool {
		return admin(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series(1, 100000)%' AND state = 'active' AND pid <> pg_backend_pid()") != "0"
	})
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cut.Wait(); err == nil {
		t.Errorf("psql took a truncated answer for a whole one:\n%s", out.String())
	}
	if r := psql("SELECT 'served'"); strings.TrimSpace(r.out) != "served" {
		t.Errorf("after the proxy was killed: %s", r.all())
	}
	if now := proxyPID(t); now == old {
		t.Error("it is the same process")
	}
	eventually(t, "the death is a finding", func() bool {
		return strings.Contains(ctl(t, "findings"), "alert-proxy-died")
	})
}

// TestProxyDiesWithTheAgent leaves nothing behind that could serve.
func TestProxyDiesWithTheAgent(t *testing.T) {
	proxy := proxyPID(t)
	if r := run("kill", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
	eventually(t, "the proxy is gone too", func() bool { return isGone(proxy) })
	if r := run("start", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
}

func isGone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || strings.Contains(string(text), "State:\tZ")
}
