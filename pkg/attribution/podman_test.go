package attribution_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/workload"
)

func TestPodmansContainer(t *testing.T) {
	all := startPodman(t)
	r := registry(t, attribution.Config{CgroupRoot: cgroupRoot(t), PodmanSocket: all.socket})

	t.Run("is one of those that can be asked about", func(t *testing.T) {
		if err := attribution.Podman.Reach(t.Context(), all.socket); err != nil {
			t.Error(err)
		}
		old := serveEngine(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/_ping" { // Podman before 4.0
				w.WriteHeader(http.StatusBadRequest)
			}
		})
		if err := attribution.Podman.Reach(t.Context(), old); err == nil {
			t.Error("a Podman without the API that is asked can be asked")
		}
	})
	t.Run("has Podman's record", func(t *testing.T) {
		p := all.in(t)
		id, origin := p.run("--name", "job-1", "--label", "com.gitlab.gitlab-runner.job.id=7")
		got := r.Workload(t.Context(), origin)
		want := workload.OrchFacts{
			Source: "podman", Container: id, Name: "job-1", Image: "localhost/waiter:1",
			Labels: map[string]string{"com.gitlab.gitlab-runner.job.id": "7"},
		}
		if diff := cmp.Diff(want, got.Orch); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		if got.Assurance != workload.Orchestrated || got.Kernel.Container != id || got.Agent.Kind != workload.AgentPipeline {
			t.Errorf("level %v, container %s, agent %+v", got.Assurance, got.Kernel.Container, got.Agent)
		}
	})
	t.Run("is one with what is executed in it", func(t *testing.T) {
		p := all.in(t)
		id, _ := p.run("--name", "job-2")
		p.podman("exec", "--detach", id, "/wait", "for", "ever")
		got := r.Workload(t.Context(), p.last(id))
		if got.Orch.Name != "job-2" || got.Assurance != workload.Orchestrated {
			t.Errorf("what is executed is %q's at %v", got.Orch.Name, got.Assurance)
		}
	})
	t.Run("has no label of its image", func(t *testing.T) {
		p := all.in(t)
		p.importImage("waiter:1", "--change", `LABEL "ci.example/repository"="acme/payments"`, "--change", "LABEL other=x")
		_, origin := p.run("--label", "mine=1", "--label", "other=mine")
		want := map[string]string{"mine": "1", "other": "mine"}
		if diff := cmp.Diff(want, r.Workload(t.Context(), origin).Orch.Labels); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
	})
	t.Run("shows what weakens its boundary", func(t *testing.T) { weakenPodmans(t, all, r) })
	t.Run("is named below its pod", func(t *testing.T) {
		p := all.in(t)
		p.podman("pod", "create", "--name", "pod", "--share", "net,ipc,uts", "--network", "none",
			"--infra-image", "waiter:1", "--infra-command", "/wait forever")
		t.Cleanup(func() { p.podman("pod", "rm", "--force", "--time", "0", "pod") })
		id, origin := p.run("--pod", "pod", "--name", "member")
		infra := p.podman("pod", "inspect", "--format", "{{.InfraContainerID}}", "pod")
		for id, origin := range map[string]attribution.Origin{id: origin, infra: p.origin(infra)} {
			got := r.Workload(t.Context(), origin)
			if got.Kernel.Container != id || got.Assurance != workload.Orchestrated || !slices.Equal(got.Orch.Taints, []string{workload.TaintUntold}) {
				t.Errorf("container %s at %v with taints %v, want %s", got.Kernel.Container, got.Assurance, got.Orch.Taints, id)
			}
		}
	})
	t.Run("is not believed in another cgroup", func(t *testing.T) {
		p := all.in(t)
		id, _ := p.run("--name", "victim")
		elsewhere := filepath.Join(cgroupRoot(t), fmt.Sprintf("sluice-podman-%d-elsewhere", os.Getpid()))
		if err := os.Mkdir(elsewhere, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(elsewhere) })
		got := r.Workload(t.Context(), job(t, filepath.Join(elsewhere, "libpod-"+id)))
		if got.Assurance > workload.Kernel || got.Orch.Name != "" || !slices.Contains(got.Orch.Taints, workload.TaintUntold) {
			t.Errorf("look-alike got the record of %q at %v", got.Orch.Name, got.Assurance)
		}
	})
	t.Run("is asked of nobody else", func(t *testing.T) {
		p := all.in(t)
		id, origin := p.run()
		for name, cfg := range map[string]attribution.Config{
			"Docker's socket": {CgroupRoot: cgroupRoot(t), DockerSocket: p.socket},
			"no socket":       {CgroupRoot: cgroupRoot(t)},
		} {
			got := registry(t, cfg).Workload(t.Context(), origin)
			if got.Assurance != workload.Kernel || got.Kernel.Container != id || got.Orch.Source != "" {
				t.Errorf("%s: container %s at %v from %q", name, got.Kernel.Container, got.Assurance, got.Orch.Source)
			}
		}
	})
}

// last is the origin of a connection of the newest process of a container.
func (p *podman) last(id string) attribution.Origin {
	p.t.Helper()
	first := p.origin(id)
	text, err := os.ReadFile(filepath.Join(cgroupOf(p.t, int(first.PID)), "cgroup.procs"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			p.t.Fatal(err)
		}
		if uint32(pid) != first.PID {
			return attribution.Origin{CgroupID: inode(p.t, cgroupOf(p.t, pid)), PID: uint32(pid)}
		}
	}
	p.t.Fatal("nothing is executed in the container's cgroup")
	return first
}

func weakenPodmans(t *testing.T, all *podman, r *attribution.Registry) {
	other, _ := all.in(t).run("--name", "other")

	for name, test := range map[string]struct {
		args, want []string
	}{
		"nothing":                    {},
		"a volume":                   {args: []string{"--volume", "cache:/cache"}},
		"a user namespace":           {args: []string{"--uidmap", "0:200000:65536"}},
		"privileged":                 {args: []string{"--privileged"}, want: []string{workload.TaintPrivileged, workload.TaintCapability, workload.TaintUnconfined, workload.TaintHostPath}},
		"the node's processes":       {args: []string{"--pid", "host"}, want: []string{workload.TaintHostPID}},
		"another's processes":        {args: []string{"--pid", "container:" + other}, want: []string{workload.TaintHostPID}},
		"the node's network":         {args: []string{"--network", "host"}, want: []string{workload.TaintHostNetwork}},
		"a capability":               {args: []string{"--cap-add", "SYS_PTRACE"}, want: []string{workload.TaintCapability}},
		"no filter of calls":         {args: []string{"--security-opt", "seccomp=unconfined"}, want: []string{workload.TaintUnconfined}},
		"the kernel's settings":      {args: []string{"--security-opt", "unmask=ALL"}, want: []string{workload.TaintHostPath}},
		"some of them":               {args: []string{"--security-opt", "unmask=/proc/sys"}, want: []string{workload.TaintHostPath}},
		"Podman's socket":            {args: []string{"--volume", all.socket + ":/podman.sock:ro"}, want: []string{workload.TaintRuntimeSocket}},
		"its directory":              {args: []string{"--volume", filepath.Dir(all.socket) + ":/there:ro"}, want: []string{workload.TaintRuntimeSocket}},
		"a system directory":         {args: []string{"--volume", "/etc:/host-etc"}, want: []string{workload.TaintHostPath}},
		"a system directory to read": {args: []string{"--volume", "/etc:/host-etc:ro"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, origin := all.in(t).run(test.args...)
			got := r.Workload(t.Context(), origin)
			if !slices.Equal(sorted(got.Orch.Taints), sorted(test.want)) || got.Assurance != workload.Orchestrated {
				t.Errorf("taints %v at %v, want %v", got.Orch.Taints, got.Assurance, test.want)
			}
		})
	}
}

// TestPodmanThatDoesNotSayAllIsUntold has a container's configuration for the OCI
// runtime vanish.
func TestPodmanThatDoesNotSayAllIsUntold(t *testing.T) {
	p := startPodman(t)
	id, origin := p.run()
	at := p.podman("inspect", "--format", "{{.OCIConfigPath}}", id)
	if err := os.Rename(at, at+".gone"); err != nil {
		t.Fatal(err)
	}
	got := registry(t, attribution.Config{CgroupRoot: cgroupRoot(t), PodmanSocket: p.socket}).Workload(t.Context(), origin)
	if want := []string{workload.TaintUntold}; got.Assurance != workload.Orchestrated || !slices.Equal(got.Orch.Taints, want) {
		t.Errorf("taints %v at %v, want %v", got.Orch.Taints, got.Assurance, want)
	}
}

// TestPodmanThatIsNotRootsIsNotAsked has a user listen who says what root's would.
func TestPodmanThatIsNotRootsIsNotAsked(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, "libpod-"+id))
	answer := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"Id":%q,"Name":"job","State":{"Pid":%d}}`, id, origin.PID)
	}
	const nobody = 65534
	for user, want := range map[int]workload.Assurance{0: workload.Orchestrated, nobody: workload.Kernel} {
		got := registry(t, attribution.Config{CgroupRoot: root, PodmanSocket: serveEngineAs(t, user, answer)}).Workload(t.Context(), origin)
		if got.Assurance != want || !slices.Equal(got.Orch.Taints, []string{workload.TaintUntold}) {
			t.Errorf("what user %d says is %v with taints %v, want %v", user, got.Assurance, got.Orch.Taints, want)
		}
	}
}

// serveEngineAs is serveEngine with another user's socket, as which only its thread
// passes, and for as long as that is made.
func serveEngineAs(t *testing.T, user int, handle http.HandlerFunc) (socket string) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(euid int) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(euid), ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	dir := t.TempDir()
	socket = filepath.Join(dir, "podman.sock")
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o711)); err != nil {
		t.Fatal(err)
	}
	become(user)
	listener, err := net.Listen("unix", socket)
	become(0)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handle)
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return socket
}

// TestPodmansPublishedPorts asks for what is published of a container and of a pod.
func TestPodmansPublishedPorts(t *testing.T) {
	p := startPodman(t)
	p.podman("network", "create", "--subnet", "203.0.113.0/28", "--ipv6", "--subnet", "2001:db8:7::/64", "net")
	alone, _ := p.run("--network", "net", "--ip", "203.0.113.5", "--ip6", "2001:db8:7::5", "--publish", "31432:5432",
		"--publish", "198.51.100.1:31440-31442:6440-6442", "--publish", "127.0.0.1:31433:5433", "--publish", "31453:53/udp", "--expose", "80")
	p.podman("pod", "create", "--name", "pod", "--share", "net", "--network", "net", "--ip", "203.0.113.6", "--ip6", "2001:db8:7::6",
		"--publish", "198.51.100.1:31500:5500", "--infra-image", "waiter:1", "--infra-command", "/wait forever")
	t.Cleanup(func() { p.podman("pod", "rm", "--force", "--time", "0", "pod") })
	member, _ := p.run("--pod", "pod")
	infra := p.podman("pod", "inspect", "--format", "{{.InfraContainerID}}", "pod")

	sources := attribution.Local(attribution.Config{CgroupRoot: cgroupRoot(t), PodmanSocket: p.socket})
	sources.Addresses = func(context.Context) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1")}, nil
	}
	got, err := attribution.New(sources, zaptest.NewLogger(t)).Containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pairs := map[string]bool{}
	for _, of := range got.Published {
		if of.Node.Addr().Is4() == of.Container.Addr().Is4() {
			pairs[of.Node.String()+" "+of.Container.String()] = true
		}
	}
	want := map[string]bool{
		"198.51.100.1:31432 203.0.113.5:5432": true, "[2001:db8::1]:31432 [2001:db8:7::5]:5432": true,
		"198.51.100.1:31440 203.0.113.5:6440": true, "198.51.100.1:31441 203.0.113.5:6441": true, "198.51.100.1:31442 203.0.113.5:6442": true,
		"198.51.100.1:31500 203.0.113.6:5500": true,
	}
	if diff := cmp.Diff(want, pairs); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	owners := map[netip.Addr]string{}
	for _, addr := range []string{"203.0.113.5", "2001:db8:7::5"} {
		owners[netip.MustParseAddr(addr)] = alone
	}
	for _, addr := range []string{"203.0.113.6", "2001:db8:7::6"} {
		owners[netip.MustParseAddr(addr)] = max(member, infra) // they share it
	}
	if diff := cmp.Diff(owners, got.Owners, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}
