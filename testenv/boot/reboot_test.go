//go:build boot

package boot

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestJobOfAUnitIsNamed runs a job that is a process of the node, in a unit.
func TestJobOfAUnitIsNamed(t *testing.T) {
	node.do(t, "systemctl restart runner")
	s := lastSession(t, node)
	if k := s.Kernel; s.Assurance != "A1" || k.UID != 1000 || k.CgroupPath != "/system.slice/runner.service" || k.Exe != "/usr/local/bin/inside" {
		t.Errorf("%+v", s)
	}
}

// session is what these tests read of `sluice sessions --json`.
type session struct {
	Assurance string
	Kernel    struct {
		UID        uint32
		CgroupPath string `json:"cgroup_path"`
		Container  string
		Exe        string
	}
	Orch struct {
		Container string
		Taints    []string
	}
}

func lastSession(t *testing.T, m *machine) session {
	t.Helper()
	m.do(t, "sleep 2") // until the batch is sent
	var sessions []session
	out := m.do(t, "sluice sessions --json --limit 1")
	if err := json.Unmarshal([]byte(out), &sessions); err != nil || len(sessions) != 1 {
		t.Fatal(err, out)
	}
	return sessions[0]
}

// TestNoJobIsAheadOfTheAgentAtBoot reboots with a job in a unit and one in a
// container, each of which connects as soon as it runs.
func TestNoJobIsAheadOfTheAgentAtBoot(t *testing.T) {
	node.do(t, "docker run -d --name first --restart=always -v /usr/local/bin/inside:/inside job sh -c '/inside job; exec /bin/busybox sleep 100000'")
	node.do(t, "ln -s /lib/systemd/system/docker.service /lib/systemd/system/containerd.service /etc/systemd/system/multi-user.target.wants/ && ln -s /etc/systemd/system/runner.service /etc/systemd/system/multi-user.target.wants/ && systemctl daemon-reload")
	since := node.do(t, "date +%s")
	node.reboot(t)
	node.eventually(t, "systemctl is-active docker && systemctl is-active runner")
	if out := node.do(t, "journalctl -b -o cat --no-pager -u runner"); !strings.Contains(out, served) {
		t.Errorf("the unit's job: %s", out)
	}
	node.eventually(t, "docker logs --since "+since+" first | grep .")
	if out := node.do(t, "docker logs --since "+since+" first"); out != served {
		t.Errorf("the container's job: %s", out)
	}
	guarded := monotonic(t, "sluice-agent", "ActiveEnterTimestampMonotonic")
	for _, unit := range []string{"docker", "runner"} {
		if began := monotonic(t, unit, "InactiveExitTimestampMonotonic"); began < guarded {
			t.Errorf("%s began %d µs before the node was guarded", unit, guarded-began)
		}
	}
}

func monotonic(t *testing.T, unit, name string) int {
	t.Helper()
	n, err := strconv.Atoi(node.property(t, unit, name))
	if err != nil || n == 0 {
		t.Fatal(unit, name, n, err)
	}
	return n
}

// TestNoJobRunsAtBootWhereTheAgentCannotStart is the same with a policy that the
// agent refuses.
func TestNoJobRunsAtBootWhereTheAgentCannotStart(t *testing.T) {
	node.do(t, "echo nonsense: 1 >>/etc/sluice/policy.yaml")
	since := node.do(t, "date +%s")
	node.reboot(t)
	node.eventually(t, "systemctl show -P AssertResult,AssertTimestamp runner | grep -q no && ! systemctl list-jobs | grep -qE 'docker|runner'")
	for _, unit := range []string{"docker", "runner"} {
		if state := node.property(t, unit, "ActiveState"); state == "active" {
			t.Errorf("%s is %s", unit, state)
		}
	}
	if out := node.do(t, "journalctl -b -o cat --no-pager -u runner"); strings.Contains(out, direct) {
		t.Errorf("the unit's job: %s", out)
	}
	node.do(t, "cp /root/policy /etc/sluice/policy.yaml")
	node.eventually(t, "systemctl is-active sluice-agent")
	node.do(t, "systemctl start docker runner")
	if out := node.do(t, "docker logs --since "+since+" first"); strings.Contains(out, direct) {
		t.Errorf("the container's job: %s", out)
	}
}

// TestUninstallLeavesNothing follows the documentation.
func TestUninstallLeavesNothing(t *testing.T) {
	node.do(t, "docker rm -f first")
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	node.do(t, "set -e\n"+strings.Join(commands(string(text), "\n## Uninstall"), "\n"))
	if out := node.do(t, "find /sys/fs/bpf -mindepth 1 ! -name '*.debug'"); out != "" {
		t.Errorf("pins are left: %s", out)
	}
	node.want(t, direct, "after the uninstall")
	if state := node.property(t, "sluice-agent", "ActiveState"); state != "inactive" {
		t.Errorf("the agent is %s", state)
	}
}
