//go:build boot

package boot

import (
	"slices"
	"strings"
	"testing"
)

// reload asks for an upgrade and waits until another process is in charge.
func reload(t *testing.T) (pid string) {
	t.Helper()
	before := node.property(t, "sluice-agent", "MainPID")
	node.do(t, "systemctl reload sluice-agent")
	node.eventually(t, `[ "$(systemctl show -P MainPID sluice-agent)" != `+before+` ]`)
	return node.property(t, "sluice-agent", "MainPID")
}

// TestReloadFailsNobody upgrades twice while connections open all the time, and
// while one session is older than both.
func TestReloadFailsNobody(t *testing.T) {
	restarts := node.property(t, "sluice-agent", "NRestarts")
	node.do(t, "systemd-run --quiet --remain-after-exit --unit=long --uid=runner /usr/local/bin/inside session /tmp/long")
	node.eventually(t, "journalctl -o cat -u long | grep -q open")
	jobs := node.connectAlways(t)
	for range 2 {
		pid := reload(t)
		if out := node.do(t, "tr '\\0' ' ' </proc/"+pid+"/cmdline"); !strings.HasPrefix(out, "/usr/local/bin/sluice-agent ") {
			t.Errorf("the main process is %s", out)
		}
		if state := node.property(t, "sluice-agent", "ActiveState"); state != "active" {
			t.Errorf("the unit is %s", state)
		}
	}
	s := jobs.end(t)
	if s.counts[served] == 0 || s.counts[direct]+s.counts[refused]+s.counts[failed] != 0 {
		t.Error(s.log)
	}
	node.do(t, "touch /tmp/long")
	node.eventually(t, "journalctl -o cat -u long | grep -q 'still open'")
	node.eventually(t, `[ "$(systemctl show -P TasksCurrent sluice-agent)" != 0 ] && [ $(pgrep -c -f 'sluice-agent (run|succeed)') = 1 ]`)
	if after := node.property(t, "sluice-agent", "NRestarts"); after != restarts {
		t.Errorf("%s restarts, %s before", after, restarts)
	}
	node.do(t, "systemctl reset-failed; systemctl stop long")
}

// TestSuccessorThatDiesIsRestarted kills the process in charge while the one
// before it, which is the service manager's own child, still drains.
func TestSuccessorThatDiesIsRestarted(t *testing.T) {
	node.do(t, "rm -f /tmp/long; systemd-run --quiet --remain-after-exit --unit=long --uid=runner /usr/local/bin/inside session /tmp/long")
	node.eventually(t, "journalctl -b -o cat -u long | tail -n 1 | grep -qx open")
	pid := reload(t)
	jobs := node.connectAlways(t)
	node.do(t, "kill -KILL "+pid)
	node.eventually(t, `[ "$(systemctl show -P MainPID sluice-agent)" != `+pid+` ] && systemctl is-active sluice-agent`)
	node.want(t, served, "after the successor has died")
	neverDirect(t, jobs.end(t))
	node.do(t, "touch /tmp/long; systemctl stop long; systemctl reset-failed")
}

func neverDirect(t *testing.T, s seen) {
	t.Helper()
	if s.counts[direct] != 0 || s.order[len(s.order)-1] != served {
		t.Error(s.log)
	}
}

func TestKilledAgentRefusesUntilItIsBack(t *testing.T) {
	jobs := node.connectAlways(t)
	node.do(t, "sleep 1; systemctl kill -s KILL sluice-agent")
	node.want(t, refused, "after the kill")
	node.eventually(t, "systemctl is-active sluice-agent")
	node.want(t, served, "after the restart")
	s := jobs.end(t)
	neverDirect(t, s)
	if !slices.Contains(s.order, refused) { // and what the starting agent cannot keep waiting is reset
		t.Error(s.log)
	}
}

func TestStoppedAgentRefuses(t *testing.T) {
	jobs := node.connectAlways(t)
	node.do(t, "sleep 1; systemctl stop sluice-agent")
	node.want(t, refused, "after the stop")
	node.do(t, "systemctl start sluice-agent")
	node.want(t, served, "after the start")
	neverDirect(t, jobs.end(t))
}
