//go:build boot

package boot

import (
	"slices"
	"strings"
	"testing"
)

func TestUnitsLoadWithoutWarnings(t *testing.T) {
	if out := node.do(t, "systemd-analyze verify sluice-agent.service sluice-collector.service docker.service runner.service 2>&1"); out != "" {
		t.Error(out)
	}
	if out := node.do(t, "journalctl -b -o cat --no-pager _PID=1 | grep -E '(sluice|docker.service.d).*(Unknown|Invalid|ignoring)' || true"); out != "" {
		t.Error(out)
	}
	if out := node.do(t, "systemctl is-active sluice-collector"); out != "active" {
		t.Errorf("the collector is %s\n%s", out, node.logOf(t, "sluice-collector"))
	}
}

// TestNobodyGuardsYet shows that a job would reach the server: what is not
// direct later is the agent's doing.
func TestNobodyGuardsYet(t *testing.T) {
	node.want(t, direct, "before the agent was ever started")
}

// TestNoJobRunsWhereTheAgentCannotStart gives the agent a policy that it refuses.
func TestNoJobRunsWhereTheAgentCannotStart(t *testing.T) {
	node.do(t, "cp /etc/sluice/policy.yaml /root/policy && echo nonsense: 1 >>/etc/sluice/policy.yaml")
	if out, status := node.try(t, "systemctl start docker runner"); status == 0 {
		t.Errorf("units of jobs start: %s", out)
	}
	for _, unit := range []string{"docker", "runner"} {
		if state := node.property(t, unit, "ActiveState"); state == "active" {
			t.Errorf("%s is %s", unit, state)
		}
	}
	if out := node.do(t, "journalctl -b -o cat --no-pager -u runner"); strings.Contains(out, direct) {
		t.Errorf("a job ran: %s", out)
	}
	// It is tried for as long as it takes: nobody has to start it once its
	// policy is good.
	node.do(t, "sleep 15 && cp /root/policy /etc/sluice/policy.yaml")
	node.eventually(t, "systemctl is-active sluice-agent")
	node.want(t, served, "when the policy is good")
	if n := node.property(t, "sluice-agent", "NRestarts"); n == "0" {
		t.Error("the agent was not started again")
	}
	node.do(t, "systemctl reset-failed")
}

// TestStartIsOverWhenTheNodeIsGuarded begins without anything in the kernel.
func TestStartIsOverWhenTheNodeIsGuarded(t *testing.T) {
	node.do(t, "systemctl stop sluice-agent && sluice-agent uninstall && rm -r /run/sluice-agent")
	node.want(t, direct, "with nothing in the kernel")
	jobs := node.connectAlways(t)
	node.do(t, "systemctl start sluice-agent && systemctl enable sluice-agent")
	node.want(t, served, "as soon as the start is over")
	s := jobs.end(t)
	guarded := slices.IndexFunc(s.order, func(word string) bool { return word != direct })
	if guarded < 0 || slices.Contains(s.order[guarded:], direct) {
		t.Errorf("direct after it was guarded:\n%s", s.log)
	}
}

// TestWhatRunsJobsStartsAfterTheAgent asks for a job while there is no agent.
func TestWhatRunsJobsStartsAfterTheAgent(t *testing.T) {
	node.do(t, "systemctl stop sluice-agent && sluice-agent uninstall && rm -r /run/sluice-agent")
	node.do(t, "systemctl start docker runner")
	if state := node.property(t, "sluice-agent", "ActiveState"); state != "active" {
		t.Errorf("the agent is %s", state)
	}
	if out := node.logOf(t, "runner"); !strings.Contains(out, served) {
		t.Errorf("a runner's first job: %s", out)
	}
	node.do(t, "mkdir -p /tmp/image/bin && cp /bin/busybox /tmp/image/bin && ln -sf busybox /tmp/image/bin/sh && tar -C /tmp/image -c . | docker import - job")
	if out := node.do(t, "docker run --rm -v /usr/local/bin/inside:/inside job /inside job"); !strings.HasPrefix(out, served) {
		t.Errorf("a container is %s", out)
	}
}

func TestDaemonReloadKeepsTheOrder(t *testing.T) {
	before := node.property(t, "sluice-agent", "MainPID")
	node.do(t, "systemctl daemon-reload")
	for _, unit := range []string{"docker", "runner"} {
		if after := strings.Fields(node.property(t, unit, "After")); !slices.Contains(after, "sluice-agent.service") {
			t.Errorf("%s is after %v", unit, after)
		}
	}
	node.do(t, "systemctl restart docker")
	if after := node.property(t, "sluice-agent", "MainPID"); after != before {
		t.Errorf("the agent was process %s and is %s", before, after)
	}
	node.want(t, served, "after daemon-reload")
}
