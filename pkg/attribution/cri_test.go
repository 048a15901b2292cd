package attribution_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/workload"
	"github.com/sluicegate/sluice/testenv/containerd"
	"github.com/sluicegate/sluice/testenv/netlab"
)

const podUID = "3f6d2c1e-58a4-4c07-9d2b-6a1b0c9d8e7f"

// node is a containerd of the test's own, asked as the kubelet asks.
type node struct {
	t      *testing.T
	client cri.RuntimeServiceClient
	socket string
	pid    int
	tree   string // cgroup in which its pods are
}

// startNode runs containerd in mount and network namespaces of its own, so that
// nothing of it is left when it ends.
func startNode(t *testing.T) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, tree: fmt.Sprintf("/sluice-cri-%d", os.Getpid())}
	t.Cleanup(func() {
		if err := netlab.RemoveCgroups(n.tree); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	const own = `ip link set lo up && mkdir -p /run/containerd /var/lib/cni && mount -t tmpfs none /run/containerd && mount -t tmpfs none /var/lib/cni && exec "$@"`
	daemon, err := containerd.Start(t.Context(), containerd.Config{
		Dir: dir, Subnet: "198.51.100.0/28", Prefix: []string{"unshare", "--mount", "--net", "sh", "-c", own, "sh"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := daemon.Stop(); err != nil {
			t.Error(err)
		}
	})
	client, conn, err := daemon.Runtime()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n.client, n.socket, n.pid = client, daemon.Socket(), daemon.PID()
	return n
}

// bind mounts a directory at another, where only the runtime sees it.
func (n *node) bind(from, at string) {
	n.t.Helper()
	cmd := exec.CommandContext(n.t.Context(), "nsenter", "--mount", "--target", strconv.Itoa(n.pid), "mount", "--bind", from, at)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%v: %s", err, out)
	}
}

// pod runs a sandbox as the kubelet would, and returns its configuration and id.
func (n *node) pod(change func(*cri.PodSandboxConfig)) (*cri.PodSandboxConfig, string) {
	n.t.Helper()
	config := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: "job-1", Namespace: "ci", Uid: podUID},
		Labels:   map[string]string{"buildkite.com/job-uuid": "7"},
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent: n.tree + "/kubepods/besteffort/pod" + podUID,
			SecurityContext: &cri.LinuxSandboxSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER},
				Seccomp:          &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault},
			},
		},
	}
	if change != nil {
		change(config)
	}
	config.Metadata.Attempt = uint32(time.Now().UnixNano()) // the runtime keeps names apart
	ran, err := n.client.RunPodSandbox(n.t.Context(), &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		n.t.Fatal(err)
	}
	id := ran.GetPodSandboxId()
	n.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := n.client.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			n.t.Error(err)
		}
		if _, err := n.client.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			n.t.Error(err)
		}
	})
	return config, id
}

// container starts one in a pod, and returns its id.
func (n *node) container(pod *cri.PodSandboxConfig, sandbox string, change func(*cri.ContainerConfig)) string {
	n.t.Helper()
	config := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "main", Attempt: uint32(time.Now().UnixNano())},
		Image:    &cri.ImageSpec{Image: containerd.PauseImage},
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			NamespaceOptions: pod.GetLinux().GetSecurityContext().GetNamespaceOptions(),
			Seccomp:          &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault},
			MaskedPaths:      []string{"/proc/kcore"}, ReadonlyPaths: []string{"/proc/sys"},
		}},
	}
	if change != nil {
		change(config)
	}
	made, err := n.client.CreateContainer(n.t.Context(), &cri.CreateContainerRequest{PodSandboxId: sandbox, Config: config, SandboxConfig: pod})
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := n.client.StartContainer(n.t.Context(), &cri.StartContainerRequest{ContainerId: made.GetContainerId()}); err != nil {
		n.t.Fatal(err)
	}
	return made.GetContainerId()
}

// origin is that of a connection out of a container of the pod.
func (n *node) origin(id string) attribution.Origin {
	n.t.Helper()
	return attribution.Origin{CgroupID: inode(n.t, filepath.Join(cgroupRoot(n.t), n.tree, "kubepods/besteffort/pod"+podUID, id))}
}

func TestPod(t *testing.T) {
	all := startNode(t)
	r := registry(t, attribution.Config{CgroupRoot: cgroupRoot(t), CRISocket: all.socket})
	in := func(t *testing.T) *node {
		n := *all
		n.t = t
		return &n
	}

	t.Run("has the runtime's record", func(t *testing.T) {
		n := in(t)
		pod, sandbox := n.pod(nil)
		main := n.container(pod, sandbox, nil)
		side := n.container(pod, sandbox, func(c *cri.ContainerConfig) { c.Metadata.Name = "side" })
		want := workload.OrchFacts{
			Source: "cri", Container: main, Name: "main", Image: containerd.PauseImage,
			Pod: podUID, PodName: "job-1", Namespace: "ci", Labels: map[string]string{"buildkite.com/job-uuid": "7"},
		}
		got := r.Workload(t.Context(), n.origin(main))
		if diff := cmp.Diff(want, got.Orch); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		if got.Assurance != workload.Orchestrated || got.Kernel.Container != main || got.Agent.Kind != workload.AgentPipeline {
			t.Errorf("level %v, container %s, agent %+v", got.Assurance, got.Kernel.Container, got.Agent)
		}
		want.Container, want.Name = side, "side"
		if diff := cmp.Diff(want, r.Workload(t.Context(), n.origin(side)).Orch); diff != "" {
			t.Errorf("the second container's (-want +got):\n%s", diff)
		}
		want.Container, want.Name, want.Image, want.Taints = sandbox, "", "", nil
		if diff := cmp.Diff(want, r.Workload(t.Context(), n.origin(sandbox)).Orch); diff != "" {
			t.Errorf("the sandbox's own (-want +got):\n%s", diff)
		}
	})
	t.Run("shows what weakens its boundary", func(t *testing.T) {
		shared := cri.NamespaceMode_NODE
		link := filepath.Join(t.TempDir(), "harmless")
		if err := os.Symlink(all.socket, link); err != nil {
			t.Fatal(err)
		}
		mount := func(from string, readonly bool) func(*cri.ContainerConfig) {
			return func(c *cri.ContainerConfig) {
				c.Mounts = []*cri.Mount{{HostPath: from, ContainerPath: "/there", Readonly: readonly}}
			}
		}
		dir := filepath.Join(t.TempDir(), "pods", podUID)
		volume := filepath.Join(dir, "volumes/kubernetes.io~empty-dir/tmp")
		subPath := func(index string) string { return filepath.Join(dir, "volume-subpaths/tmp/main", index) }
		for _, dir := range []string{volume, subPath("0"), subPath("1"), subPath("2")} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		all.bind(volume, subPath("1"))
		all.bind(filepath.Dir(all.socket), subPath("2"))
		tests := map[string]struct {
			pod       func(*cri.PodSandboxConfig)
			container func(*cri.ContainerConfig)
			want      []string
		}{
			"nothing": {},
			"privileged": {
				pod: func(p *cri.PodSandboxConfig) { p.Linux.SecurityContext.Privileged = true },
				container: func(c *cri.ContainerConfig) {
					c.Linux.SecurityContext = &cri.LinuxContainerSecurityContext{Privileged: true}
				},
				want: []string{workload.TaintPrivileged, workload.TaintCapability, workload.TaintUnconfined, workload.TaintHostPath},
			},
			"beside a privileged one": {
				pod:  func(p *cri.PodSandboxConfig) { p.Linux.SecurityContext.Privileged = true }, // as the kubelet says it
				want: []string{workload.TaintBeside},
			},
			"the node's network": {
				pod:  func(p *cri.PodSandboxConfig) { p.Linux.SecurityContext.NamespaceOptions.Network = shared },
				want: []string{workload.TaintHostNetwork},
			},
			"the node's processes": {
				pod:  func(p *cri.PodSandboxConfig) { p.Linux.SecurityContext.NamespaceOptions.Pid = shared },
				want: []string{workload.TaintHostPID},
			},
			"a capability": {
				container: func(c *cri.ContainerConfig) {
					c.Linux.SecurityContext.Capabilities = &cri.Capability{AddCapabilities: []string{"SYS_PTRACE"}}
				},
				want: []string{workload.TaintCapability},
			},
			"no filter of system calls": {
				container: func(c *cri.ContainerConfig) {
					c.Linux.SecurityContext.Seccomp.ProfileType = cri.SecurityProfile_Unconfined
				},
				want: []string{workload.TaintUnconfined},
			},
			"the kernel's settings": {
				container: func(c *cri.ContainerConfig) { c.Linux.SecurityContext.ReadonlyPaths = nil },
				want:      []string{workload.TaintHostPath},
			},
			"the runtime's socket":             {container: mount(all.socket, true), want: []string{workload.TaintRuntimeSocket}},
			"the socket's directory":           {container: mount(filepath.Dir(all.socket), true), want: []string{workload.TaintRuntimeSocket}},
			"the socket by another name":       {container: mount(link, true), want: []string{workload.TaintRuntimeSocket}},
			"a system directory":               {container: mount("/etc", false), want: []string{workload.TaintHostPath}},
			"a system directory to read":       {container: mount("/etc", true)},
			"a sub-path of nobody knows what":  {container: mount(subPath("0"), false), want: []string{workload.TaintUntold}},
			"a sub-path of a volume":           {container: mount(subPath("1"), false)},
			"a sub-path of the socket's place": {container: mount(subPath("2"), true), want: []string{workload.TaintRuntimeSocket}},
			"a volume of the pod's":            {container: mount(volume, false)},
		}
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				n := in(t)
				pod, sandbox := n.pod(test.pod)
				id := n.container(pod, sandbox, test.container)
				if got := r.Workload(t.Context(), n.origin(id)).Orch.Taints; !slices.Equal(sorted(got), sorted(test.want)) {
					t.Errorf("taints %v, want %v", got, test.want)
				}
			})
		}
	})
	t.Run("is tainted by what was deleted while it was mounted", func(t *testing.T) {
		n := in(t)
		dir := filepath.Join(t.TempDir(), "pods", podUID)
		part, at := filepath.Join(dir, "volumes/kubernetes.io~empty-dir/tmp/part"), filepath.Join(dir, "volume-subpaths/tmp/main/0")
		if err := errors.Join(os.MkdirAll(part, 0o755), os.MkdirAll(at, 0o755)); err != nil {
			t.Fatal(err)
		}
		n.bind(part, at)
		pod, sandbox := n.pod(nil)
		id := n.container(pod, sandbox, func(c *cri.ContainerConfig) {
			c.Mounts = []*cri.Mount{{HostPath: at, ContainerPath: "/there"}}
		})
		if err := os.Remove(part); err != nil {
			t.Fatal(err)
		}
		if got := r.Workload(t.Context(), n.origin(id)).Orch.Taints; !slices.Equal(got, []string{workload.TaintUntold}) {
			t.Errorf("taints %v", got)
		}
	})
	t.Run("is not believed in another cgroup", func(t *testing.T) {
		n := in(t)
		pod, sandbox := n.pod(nil)
		id := n.container(pod, sandbox, nil)
		elsewhere := filepath.Join(cgroupRoot(t), fmt.Sprintf("sluice-cri-%d-elsewhere", os.Getpid()))
		if err := os.Mkdir(elsewhere, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(elsewhere) })
		got := r.Workload(t.Context(), job(t, filepath.Join(elsewhere, id)))
		if got.Assurance > workload.Kernel || got.Orch.PodName != "" {
			t.Errorf("look-alike got the record of %q at %v", got.Orch.PodName, got.Assurance)
		}
	})
	t.Run("is not believed below another pod", func(t *testing.T) {
		n := in(t)
		pod, sandbox := n.pod(func(p *cri.PodSandboxConfig) { p.Metadata.Uid = "00000000-0000-4000-8000-000000000000" })
		got := r.Workload(t.Context(), n.origin(n.container(pod, sandbox, nil)))
		if got.Assurance > workload.Kernel || got.Orch.PodName != "" || got.Orch.Pod != podUID {
			t.Errorf("the record of another pod at %v: %+v", got.Assurance, got.Orch)
		}
	})
}

func sorted(all []string) []string { return slices.Sorted(slices.Values(all)) }
