//go:build boot

package boot

import (
	"strings"
	"testing"
)

// v1Alone makes systemd mount the hierarchies of cgroup v1 and nothing else.
const v1Alone = "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1"

// TestHostWithCgroupV1Alone boots another machine, on which no cgroup v2 is
// mounted: what is guarded there, and what is known of a job.
func TestHostWithCgroupV1Alone(t *testing.T) {
	node.stop() // two at once are slow
	m, err := start(*made, t.TempDir(), v1Alone)
	if err != nil {
		t.Fatal(err)
	}
	defer m.stop()
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	if out := m.do(t, "grep cgroup2 /proc/mounts || true"); out != "" {
		t.Fatalf("cgroup v2 is mounted: %s", out)
	}
	m.want(t, direct, "before the agent")

	t.Run("doctor says what it costs", func(t *testing.T) {
		if out := m.do(t, "sluice-agent doctor"); !strings.Contains(out, "degraded: cgroup v1 only") {
			t.Error(out)
		}
	})
	t.Run("an exemption is refused", func(t *testing.T) {
		m.do(t, "cp /etc/sluice/agent.yaml /root/agent && echo 'redirect: {exempt: [/system.slice/ssh.service]}' >>/etc/sluice/agent.yaml")
		out, status := m.try(t, "timeout 60 sluice-agent run 2>&1")
		if status == 0 || !strings.Contains(out, "cgroup v1 alone") {
			t.Errorf("status %d: %s", status, out)
		}
		m.do(t, "cp /root/agent /etc/sluice/agent.yaml")
	})
	m.do(t, "systemctl start docker runner") // and the agent before them
	m.do(t, "mkdir -p /tmp/image/bin && cp /bin/busybox /tmp/image/bin && ln -sf busybox /tmp/image/bin/sh && tar -C /tmp/image -c . | docker import - job")
	if out := m.do(t, "grep cgroup2 /proc/mounts || true"); out != "" {
		t.Errorf("the agent mounts cgroup v2 where others see it: %s", out)
	}

	t.Run("a unit is named", func(t *testing.T) {
		s := lastSession(t, m)
		if s.Assurance != "A1" || s.Kernel.UID != 1000 || s.Kernel.CgroupPath != "/system.slice/runner.service" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("containers are served from their first connect on, and named", func(t *testing.T) {
		for range 5 {
			out := m.do(t, "docker run --cidfile /root/id -v /usr/local/bin/inside:/inside job /inside job; cat /root/id; rm /root/id")
			outcome, id, _ := strings.Cut(out, "\n")
			if !strings.HasPrefix(outcome, served) {
				t.Errorf("a container is %s", outcome)
			}
			if s := lastSession(t, m); s.Assurance != "A2" || s.Kernel.Container != id || s.Orch.Container != id {
				t.Errorf("want %s: %+v", id, s)
			}
		}
	})
	t.Run("who moves in one hierarchy is nobody", func(t *testing.T) {
		victim := m.do(t, "docker run -d job sh -c 'exec /bin/busybox sleep 100000'")
		m.do(t, "docker run --rm --privileged -v /usr/local/bin/inside:/inside -v /sys/fs/cgroup:/cgroup job sh -c 'echo 0 >/cgroup/memory/system.slice/docker-"+victim+".scope/cgroup.procs || echo 0 >/cgroup/memory/docker/"+victim+"/cgroup.procs; /inside job'")
		if s := lastSession(t, m); s.Assurance != "A0" || s.Kernel.Container != "" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a killed agent refuses", func(t *testing.T) {
		jobs := m.connectAlways(t)
		m.do(t, "sleep 1; systemctl kill -s KILL sluice-agent")
		m.want(t, refused, "after the kill")
		m.eventually(t, "systemctl is-active sluice-agent")
		m.want(t, served, "after the restart")
		neverDirect(t, jobs.end(t))
	})
}
