package attribution_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/workload"
)

// engine is a Docker Engine of the test's own, with an image that waits for its
// input to end.
type engine struct {
	t      *testing.T
	socket string
	parent string // cgroup in which its containers are
	log    string

	archive string // of the image's file system
}

// startEngine runs dockerd in mount and network namespaces of its own, so that
// nothing of it is left when it ends.
func startEngine(t *testing.T) *engine {
	t.Helper()
	dir := t.TempDir()
	e := &engine{
		t: t, socket: filepath.Join(dir, "docker.sock"), log: filepath.Join(dir, "log"),
		parent: fmt.Sprintf("sluice-test-%d", os.Getpid()),
	}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(e.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("dockerd", "--config-file", config, "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "-H", "unix://"+e.socket,
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs",
		"--cgroup-parent", "/"+e.parent, "--exec-opt", "native.cgroupdriver=cgroupfs")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start dockerd (the test needs docker.io): %v", err)
	}
	t.Cleanup(func() { e.stop(cmd) })
	e.waitReady()
	e.importImage(dir)
	return e
}

// in returns the engine for a sub-test.
func (e *engine) in(t *testing.T) *engine {
	sub := *e
	sub.t = t
	return &sub
}

// stop ends the engine and removes the cgroups that it leaves.
func (e *engine) stop(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		left, _ := filepath.Glob(pattern + e.parent)
		for _, dir := range left {
			if err := os.Remove(dir); err != nil {
				e.t.Errorf("remove cgroup: %v", err)
			}
		}
	}
}

func (e *engine) waitReady() {
	e.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", e.socket)
	}}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		response, err := client.Get("http://docker/_ping")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
	}
	log, _ := os.ReadFile(e.log)
	e.t.Fatalf("dockerd is not ready after a minute:\n%s", log)
}

// docker runs the client and returns what it prints.
func (e *engine) docker(args ...string) string {
	e.t.Helper()
	cmd := exec.Command("docker", append([]string{"-H", "unix://" + e.socket}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// importImage makes an image that holds nothing but one static program.
func (e *engine) importImage(dir string) {
	e.t.Helper()
	source, root := filepath.Join(dir, "wait.go"), filepath.Join(dir, "root")
	const program = "package main\n\nimport \"os\"\n\nfunc main() { _, _ = os.Stdin.Read(make([]byte, 1)) }\n"
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		e.t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(root, "wait"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	e.archive = filepath.Join(dir, "root.tar")
	for _, cmd := range []*exec.Cmd{build, exec.Command("tar", "-C", root, "-cf", e.archive, ".")} {
		if out, err := cmd.CombinedOutput(); err != nil {
			e.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	e.docker("import", e.archive, "waiter:1")
}

// run starts a container and returns its id and the origin of a connection of
// its first process.
func (e *engine) run(args ...string) (string, attribution.Origin) {
	e.t.Helper()
	if !slices.Contains(args, "--network") {
		args = append(args, "--network", "none")
	}
	id := e.docker(append(append([]string{"run", "-d", "-i"}, args...), "waiter:1", "/wait")...)
	e.t.Cleanup(func() { e.docker("rm", "-f", id) })
	pid, err := strconv.ParseUint(e.docker("inspect", "-f", "{{.State.Pid}}", id), 10, 32)
	if err != nil {
		e.t.Fatal(err)
	}
	cgroup := filepath.Join(cgroupRoot(e.t), e.parent, id)
	return id, attribution.Origin{CgroupID: inode(e.t, cgroup), PID: uint32(pid)}
}

func TestDockerContainer(t *testing.T) {
	e := startEngine(t)
	r := registry(t, attribution.Config{CgroupRoot: cgroupRoot(t), DockerSocket: e.socket})

	t.Run("has the engine's record", func(t *testing.T) {
		e := e.in(t)
		id, origin := e.run("--name", "job-1", "--label", "com.gitlab.gitlab-runner.job.id=7")
		got := r.Workload(t.Context(), origin)
		want := workload.OrchFacts{
			Source: "docker", Container: id, Name: "job-1", Image: "waiter:1",
			Labels: map[string]string{"com.gitlab.gitlab-runner.job.id": "7"},
		}
		if diff := cmp.Diff(want, got.Orch); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		if got.Assurance != workload.Orchestrated || got.Kernel.Container != id || got.Agent.Kind != workload.AgentPipeline {
			t.Errorf("level %v, container %s, agent %+v", got.Assurance, got.Kernel.Container, got.Agent)
		}
	})
	t.Run("shows what weakens its boundary", func(t *testing.T) {
		e := e.in(t)
		tests := []struct {
			args []string
			want string
		}{
			{[]string{"--pid", "host"}, workload.TaintHostPID},
			{[]string{"--network", "host"}, workload.TaintHostNetwork},
			{[]string{"-v", e.socket + ":/run/docker.sock"}, workload.TaintRuntimeSocket},
			{[]string{"-v", "/etc:/host-etc"}, workload.TaintHostPath},
			{[]string{"--security-opt", "seccomp=unconfined"}, workload.TaintUnconfined},
			{[]string{"--security-opt", "systempaths=unconfined"}, workload.TaintHostPath},
		}
		for _, test := range tests {
			_, origin := e.run(test.args...)
			if got := r.Workload(t.Context(), origin).Orch.Taints; !slices.Contains(got, test.want) {
				t.Errorf("%v: taints %v, want %s among them", test.args, got, test.want)
			}
		}
	})
	t.Run("is not believed in another cgroup", func(t *testing.T) {
		e := e.in(t)
		id, _ := e.run("--name", "victim")
		elsewhere := filepath.Join(cgroupRoot(t), fmt.Sprintf("sluice-test-%d-elsewhere", os.Getpid()))
		if err := os.Mkdir(elsewhere, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(elsewhere) })
		got := r.Workload(t.Context(), job(t, filepath.Join(elsewhere, id)))
		if got.Assurance > workload.Kernel || got.Orch.Name != "" {
			t.Errorf("look-alike got the record of %q at %v", got.Orch.Name, got.Assurance)
		}
	})
	t.Run("never inherits an earlier one's facts", func(t *testing.T) {
		e := e.in(t)
		first, origin := e.run("--name", "reused", "--label", "turn=first")
		if got := r.Workload(t.Context(), origin).Orch.Labels["turn"]; got != "first" {
			t.Fatalf("first container has turn %q", got)
		}
		e.docker("rename", first, "old")
		e.docker("kill", first)
		_, origin = e.run("--name", "reused", "--label", "turn=second")
		if got := r.Workload(t.Context(), origin).Orch.Labels["turn"]; got != "second" {
			t.Errorf("second container has turn %q", got)
		}
	})
}
