package bypass

import (
	"fmt"
	"os/exec"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/pkg/workload"
)

// container is one whose boundary its owner weakened, and what it tries.
type container struct {
	name    string
	options []string
	taint   string   // by which its sessions are known, and can be refused
	within  []row    // what is stopped all the same
	beyond  []string // what is not, and is therefore out of the boundary
}

// containers is the table of weakened boundaries. Agent's process id in their
// targets is that of a process that may be killed.
func containers() []container {
	return []container{
		{
			name: "unconfined", options: []string{"--security-opt", "seccomp=unconfined"}, taint: workload.TaintUnconfined,
			within: []row{
				{name: "tcp", stops: hooks(redirected)},
				{name: "own-namespaces", stops: hooks("kernel: network is unreachable", "kernel: no space left", redirected, "connect_refused_no_listener")},
				{name: "bpf-link-detach", stops: hooks(noCapability)},
				{name: "bpf-prog-detach", stops: hooks(noCapability, noPath, "kernel: bad file descriptor")},
			},
		},
		{
			name: "host-network", options: []string{"--network", "host"}, taint: workload.TaintHostNetwork,
			within: []row{
				{name: "tcp", stops: hooks(redirected)},
				{name: "udp-sendto", stops: hooks("sendmsg_refused")},
				{name: "raw-tcp", stops: hooks("egress_dropped")},
				{name: "listener", stops: hooks("connect_refused_listener")},
				{name: "packet-socket", stops: hooks("link_out_dropped")},
			},
			beyond: []string{"leg-sniff", "packet-socket-qdisc-bypass"},
		},
		{
			name: "runtime-socket", options: []string{"--volume", lab.engine.socket() + ":/run/docker.sock"}, taint: workload.TaintRuntimeSocket,
			within: []row{{name: "second-container", stops: hooks(redirected)}},
			beyond: []string{"runtime-socket"},
		},
		{
			name: "host-pid", options: []string{"--pid", "host"}, taint: workload.TaintHostPID,
			within: []row{{name: "tcp", stops: hooks(redirected)}},
			beyond: []string{"signal-agent"},
		},
		{
			name: "sys-admin", options: []string{"--cap-add", "SYS_ADMIN"}, taint: workload.TaintCapability,
			within: []row{{name: "tcp", stops: hooks(redirected)}},
			beyond: []string{"mount-bpffs", "bpf-link-detach"},
		},
		{
			name: "privileged", options: privileged(), taint: workload.TaintCapability,
			within: []row{{name: "tcp", stops: hooks(redirected)}, {name: "raw-tcp", stops: hooks("egress_dropped")}, {name: "nested-container", stops: hooks(redirected)}},
			beyond: []string{"bpf-link-detach"},
		},
	}
}

// privileged is what docker run --privileged gives, but for the one capability
// that root may lack in a sandbox, which would make Docker refuse.
func privileged() []string {
	return []string{
		"--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--security-opt", "systempaths=unconfined", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup", "--device", "/dev/net/tun",
	}
}

func TestWeakBoundaryIsDetected(t *testing.T) {
	for _, c := range containers() {
		t.Run(c.name, func(t *testing.T) {
			j := lab.newJob(t, c.name, c.options...)
			who := lab.agent.workload(func() { j.try(t, "tcp", lab.target()) })
			if !slices.Contains(who.Orch.Taints, c.taint) {
				t.Errorf("taints are %v, want %s", who.Orch.Taints, c.taint)
			}
			for _, r := range c.within {
				lab.stage(t, j, c.name, r)
			}
			neighbour := lab.newJob(t, "neighbour")
			for _, technique := range c.beyond {
				lab.concede(t, j, neighbour, c, technique, who.Orch.Taints)
			}
		})
	}
}

// concede runs a technique that is out of the boundary while a neighbour
// works, and puts the agent in force again.
func (w *world) concede(t *testing.T, j, neighbour *job, c container, technique string, taints []string) {
	t.Helper()
	to, end := w.target(), decoy(t)
	to.Agent = end.Process.Pid
	if j.onNode {
		to.Gateway = w.server4
	}
	before := w.look(t)
	s := j.try(t, technique, to, func() { neighbour.try(t, "leg-neighbour", w.target()) })
	if o := w.outcome(t, before, s); !s.Gained && o.arrived == 0 {
		t.Errorf("%s is stopped: it belongs inside of the boundary; the attacker saw %q", technique, s.Saw)
	}
	result := "out of boundary: detected"
	if !slices.Contains(taints, c.taint) {
		result = "REACHED"
	}
	w.tables.add(fmt.Sprintf("%s\t%s\t%s\ttaint %s\t%s", technique, c.name, result, c.taint, s.Saw))
	must(t, w.agent.stop())
	must(t, w.agent.start())
}

// decoy is a process of the node that the suite can do without.
func decoy(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the attacker may have done so
		_ = cmd.Wait()
	})
	return cmd
}

// TestContainerInAJobsNetworkIsRedirected shares the network namespace of a job
// and nothing else.
func TestContainerInAJobsNetworkIsRedirected(t *testing.T) {
	first := lab.newJob(t, "first")
	if s := first.try(t, "tcp", lab.target()); s.Saw != "answered by agent" {
		t.Errorf("the first container saw %q", s.Saw)
	}
	second := lab.newJob(t, "second", "--network", "container:"+first.name)
	for _, r := range []row{
		{name: "tcp", stops: hooks(redirected)},
		{name: "raw-tcp", stops: hooks("egress_dropped")},
		{name: "listener", stops: hooks("connect_refused_listener")},
		{name: "bind-any", stops: hooks("bind_refused")},
	} {
		lab.stage(t, second, "network container:", r)
	}
}

// TestWhoJoinsTheNodesNetworkIsTainted shares the network namespace of a job that is
// on the node's: the engine says only whom it joined.
func TestWhoJoinsTheNodesNetworkIsTainted(t *testing.T) {
	first := lab.newJob(t, "on-node", "--network", "host")
	first.try(t, "tcp", lab.target()) // the container runs when it answers
	second := lab.newJob(t, "joined", "--network", "container:"+first.name)
	who := lab.agent.workload(func() { second.try(t, "tcp", lab.target()) })
	if who.Orch.Name != second.name || !slices.Contains(who.Orch.Taints, workload.TaintHostNetwork) {
		t.Errorf("taints of %q are %v, want %s", who.Orch.Name, who.Orch.Taints, workload.TaintHostNetwork)
	}
}
