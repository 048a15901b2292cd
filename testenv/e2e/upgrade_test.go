package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// throughout is longer than a test with several upgrades takes beside other work.
const throughout = 9 * time.Minute

// conversation is a psql in a job that is told what to do step by step.
type conversation struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err strings.Builder
}

func converse(t *testing.T) *conversation {
	t.Helper()
	c := &conversation{cmd: labCommandFor(throughout, append([]string{"job", "--"}, psqlArgs()...)...)}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in, c.out, c.cmd.Stderr = in, bufio.NewReader(out), &c.err
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// say runs statements, the last of which returns one line.
func (c *conversation) say(t *testing.T, statements string) string {
	t.Helper()
	if _, err := io.WriteString(c.in, statements+"\n"); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := c.out.ReadString('\n')
		if err != nil {
			_ = c.cmd.Wait()
			t.Fatalf("%s: %v: %s", statements, err, c.err.String())
		}
		switch line = strings.TrimSpace(line); line {
		case "BEGIN", "COMMIT", "INSERT 0 1", "CREATE TABLE":
		default:
			return line
		}
	}
}

func (c *conversation) end(t *testing.T) {
	t.Helper()
	if err := c.in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the long session ends with %v: %s", err, c.err.String())
	}
}

// connecting is jobs that connect all the time: one that does nothing else, and
// new ones.
type connecting struct {
	stop   string // a file that ends it
	wait   sync.WaitGroup
	mu     sync.Mutex
	served int      // guarded by mu
	failed []string // guarded by mu
}

func connectAlways(t *testing.T) *connecting {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "sluice-upgrade-") // where jobs see it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &connecting{stop: filepath.Join(dir, "stop")}
	c.wait.Go(func() { // with pauses: all of a test's sessions have to fit one list of them
		r := resultOf(labCommandFor(throughout, "job", "--", "sh", "-c", `n=0; while [ ! -e "$0" ]; do psql --no-psqlrc -h pg.lab -U app -Atc "SELECT 1" shop >/dev/null || exit 1; n=$((n + 1)); sleep 0.05; done; echo $n`, c.stop))
		n, _ := strconv.Atoi(strings.TrimSpace(r.out))
		c.count(n, r)
	})
	c.wait.Go(func() {
		for !exists(c.stop) {
			c.count(1, psql("SELECT 1"))
		}
	})
	return c
}

func (c *connecting) count(n int, r result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served += n
	if r.code != 0 {
		c.failed = append(c.failed, r.all())
	}
}

// end stops connecting. Nothing may have failed.
func (c *connecting) end(t *testing.T) int {
	t.Helper()
	if err := os.WriteFile(c.stop, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c.wait.Wait()
	for _, why := range c.failed {
		t.Errorf("a connection failed: %s", why)
	}
	return c.served
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// build puts another build of the agent in the program's place.
func build(t *testing.T, id string) {
	t.Helper()
	next := filepath.Join(lab.dir, "bin", "next")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-buildid="+id, "-o", next, "./cmd/sluice-agent")
	cmd.Dir, cmd.Env = lab.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	install(t, next)
}

func install(t *testing.T, program string) {
	t.Helper()
	if err := os.Rename(program, agentProgram()); err != nil {
		t.Fatal(err)
	}
}

func agentProgram() string { return filepath.Join(lab.dir, "bin", "sluice-agent") }

// hangUp asks the agent to upgrade.
func hangUp(t *testing.T) (old int) {
	t.Helper()
	old = agentPID(t)
	if err := syscall.Kill(old, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	return old
}

// logged returns how often the agent's log has a text.
func logged(t *testing.T, what string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.dir, "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), what)
}

// adopt tells the lab which process is its agent now.
func adopt(t *testing.T, pid int) {
	t.Helper()
	file := filepath.Join(lab.dir, "state.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	state["processes"].(map[string]any)["agent"] = processOf(t, pid)
	if text, err = json.Marshal(state); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// successors are the processes that take over from an agent.
func successors(agent int) (pids []int) {
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", agent))
	for _, file := range children {
		text, _ := os.ReadFile(file)
		for _, field := range strings.Fields(string(text)) {
			line, _ := os.ReadFile("/proc/" + field + "/cmdline")
			if pid, err := strconv.Atoi(field); err == nil && strings.Contains(string(line), "\x00succeed\x00") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestUpgradeFailsNobody replaces the running agent by another build while jobs
// connect all the time and a transaction is open.
func TestUpgradeFailsNobody(t *testing.T) {
	began := time.Now()
	long := converse(t)
	if got := long.say(t, "BEGIN; SELECT 'before';"); got != "before" {
		t.Fatalf("got %q", got)
	}
	all := connectAlways(t)
	build(t, "two")
	done := logged(t, "A successor has taken over")
	old := hangUp(t)
	within(t, upgradeWait, "the successor has taken over", func() bool { return logged(t, "A successor has taken over") > done })
	next := successors(old)
	if len(next) != 1 {
		t.Fatalf("the agent's successors are %v", next)
	}
	adopt(t, next[0])
	if running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", next[0])); err != nil {
		t.Error(err)
	} else if installed, err := os.Stat(agentProgram()); err != nil || !os.SameFile(running, installed) {
		t.Errorf("it runs another program: %v", err)
	}
	if got := long.say(t, "SELECT 'after the upgrade'; COMMIT;"); got != "after the upgrade" {
		t.Errorf("the long session gets %q", got)
	}
	if isGone(old) {
		t.Error("the old agent is gone, with a session in its hands")
	}
	served := all.end(t)
	t.Logf("%d connections were served during an upgrade", served)
	long.end(t)
	eventually(t, "the old agent ends with its last session", func() bool { return isGone(old) })
	isWhole(t, began)
	if r := psql("SELECT 'served'"); strings.TrimSpace(r.out) != "served" {
		t.Errorf("afterwards: %s", r.all())
	}
}

// processOf is how the lab remembers a process: by pid and when it started.
func processOf(t *testing.T, pid int) map[string]any {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return map[string]any{"pid": pid, "start": fields[19]}
}

// upgradeWait is how long an upgrade may take: the successor compiles its parser
// beside everything else that runs here.
const upgradeWait = 3 * time.Minute

// failed is what the agent's log says of an upgrade that came to nothing.
const failed = "The upgrade came to nothing"

// TestAgentGoesOnWhenItsSuccessorFails puts programs in its place that do not
// take over.
func TestAgentGoesOnWhenItsSuccessorFails(t *testing.T) {
	began := time.Now()
	long := converse(t)
	if got := long.say(t, "BEGIN; SELECT 'before';"); got != "before" {
		t.Fatalf("got %q", got)
	}
	kept := filepath.Join(lab.dir, "bin", "kept")
	if err := os.Link(agentProgram(), kept); err != nil {
		t.Fatal(err)
	}
	defer install(t, kept)
	all := connectAlways(t)
	for name, script := range map[string]string{
		"does not start": "#!/nowhere\n",
		"ends at once":   "#!/bin/sh\nexit 1\n",
		"is no agent":    "#!/bin/sh\necho hello >&3\nexec sleep 1\n",
	} {
		bad := filepath.Join(lab.dir, "bin", "bad")
		if err := os.WriteFile(bad, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		install(t, bad)
		done := logged(t, failed)
		hangUp(t)
		within(t, upgradeWait, "a successor that "+name+" is given up", func() bool { return logged(t, failed) > done })
	}
	if got := long.say(t, "SELECT 'as if nothing had been'; COMMIT;"); got != "as if nothing had been" {
		t.Errorf("the long session gets %q", got)
	}
	all.end(t)
	long.end(t)
	isWhole(t, began)
}

// TestSuccessorCanBeKilledAtAnyTime kills it at many moments, among them those
// at which it has taken the listeners and the records.
func TestSuccessorCanBeKilledAtAnyTime(t *testing.T) {
	began := time.Now()
	long := converse(t)
	if got := long.say(t, "BEGIN; SELECT 'before';"); got != "before" {
		t.Fatalf("got %q", got)
	}
	all := connectAlways(t)
	given, taken := logged(t, failed), logged(t, "A successor has taken over")
	proxies := logged(t, "This node is guarded")
	for _, after := range []time.Duration{0, 10, 40} {
		old := hangUp(t)
		var next int
		within(t, upgradeWait, "a successor has a proxy that serves, or is about to", func() bool {
			all := successors(old)
			if len(all) == 1 {
				next = all[0]
			}
			return next != 0 && listensFor(next)
		})
		<-time.After(after * time.Millisecond)
		if logged(t, "A successor has taken over") > taken {
			t.Logf("after %d ms it had taken over", after)
			adopt(t, next)
			taken++
			continue
		}
		if err := syscall.Kill(next, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		within(t, upgradeWait, "the upgrade is decided", func() bool {
			return logged(t, failed) > given || logged(t, "A successor has taken over") > taken
		})
		if logged(t, failed) == given { // the old one did not hear of its end in time
			t.Log("the successor was killed when it had just taken over: its sessions are gone, as with any agent's")
			for _, verb := range []string{"kill", "start"} { // the old one may still serve its sessions
				if r := run(verb, "agent"); r.code != 0 {
					t.Fatal(r.all())
				}
			}
			return
		}
		given++
	}
	t.Logf("%d proxies began to serve", logged(t, "This node is guarded")-proxies)
	if got := long.say(t, "SELECT 'still there'; COMMIT;"); got != "still there" {
		t.Errorf("the long session gets %q", got)
	}
	all.end(t)
	long.end(t)
	isWhole(t, began)
}

// isWhole waits until the long session, the first one that began since, is at
// the collector with its log-in and all four statements, and verifies the log.
func isWhole(t *testing.T, began time.Time) {
	t.Helper()
	eventually(t, "the long session is at the collector", func() bool {
		var all []sessionView
		if err := json.Unmarshal([]byte(ctl(t, "sessions", "--json", "--limit", "1000")), &all); err != nil {
			t.Fatal(err)
		}
		all = slices.DeleteFunc(all, func(s sessionView) bool { return s.Started.Before(began) })
		return len(all) > 0 && all[len(all)-1].Ended != nil && all[len(all)-1].Operations == 5
	})
	ctl(t, "verify")
}

// listensFor reports whether a process has taken listeners over: it has more
// than a few sockets that listen.
func listensFor(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	namespaces := 0
	for _, file := range files {
		if name, err := os.Readlink(file); err == nil && strings.HasPrefix(name, "net:[") {
			namespaces++
		}
	}
	return namespaces > 0
}
