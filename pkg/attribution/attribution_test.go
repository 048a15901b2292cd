package attribution_test

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/workload"
)

// cgroupRoot finds where cgroup v2 is mounted on this machine.
func cgroupRoot(t testing.TB) string {
	t.Helper()
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	defer mounts.Close()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1]
		}
	}
	t.Fatal("cgroup v2 is not mounted")
	return ""
}

// job starts a waiting process in a fresh cgroup and returns its origin.
func job(t testing.TB, cgroup string, env ...string) attribution.Origin {
	t.Helper()
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		t.Fatalf("make a cgroup (the test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(cgroup); err != nil && !os.IsNotExist(err) {
			t.Errorf("remove cgroup: %v", err)
		}
	})
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	// cat runs until its input is closed.
	cmd := exec.Command("cat")
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return attribution.Origin{CgroupID: inode(t, cgroup), NetnsCookie: 7, PID: uint32(cmd.Process.Pid), UID: 1000, Started: startOf(t, cmd.Process.Pid)}
}

// startOf reads when a process of a simple name began, on the clocks that
// time.Now reads.
func startOf(t testing.TB, pid int) time.Time {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := strconv.ParseInt(strings.Fields(string(stat))[21], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var up unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
			t.Fatal(err)
		}
		if time.Since(before) < time.Millisecond {
			return before.Add(time.Duration(ticks)*10*time.Millisecond - time.Duration(up.Nano()))
		}
	}
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}

func freshID() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	return hex.EncodeToString(raw)
}

func registry(t testing.TB, cfg attribution.Config) *attribution.Registry {
	return attribution.New(attribution.Local(cfg), zaptest.NewLogger(t))
}

func TestContainerIsNamedByItsCgroup(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id), "CI=true", "GITHUB_TOKEN=ghs_secret", "CLAUDECODE=1")

	got := registry(t, attribution.Config{CgroupRoot: root}).Workload(t.Context(), origin)

	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := filepath.EvalSymlinks(cat)
	if err != nil {
		t.Fatal(err)
	}
	want := workload.Workload{
		Assurance: workload.Kernel,
		Kernel: workload.KernelFacts{
			CgroupID: origin.CgroupID, CgroupPath: "/" + id, NetnsCookie: 7, PID: origin.PID, UID: 1000,
			Started: origin.Started, Exe: exe, Container: id,
		},
		Verified: map[string]any{},
		Claimed:  workload.Claims{Command: []string{"cat"}, Env: map[string]string{"CI": "true", "CLAUDECODE": "1"}},
		Agent:    workload.Agent{Kind: workload.AgentAI, Product: "claude-code", Evidence: []string{"claimed.env CLAUDECODE"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workload (-want +got):\n%s", diff)
	}
}

func TestUnknownCgroupIsUnattributed(t *testing.T) {
	root := cgroupRoot(t)
	got := registry(t, attribution.Config{CgroupRoot: root}).Workload(t.Context(), attribution.Origin{CgroupID: 1 << 62, PID: 1, UID: 3})
	if got.Assurance != workload.Unattributed || got.Kernel.CgroupPath != "" || got.Kernel.UID != 3 {
		t.Errorf("unknown cgroup gave %+v", got)
	}
}

func TestRemovedCgroupNamesNobody(t *testing.T) {
	root := cgroupRoot(t)
	first := filepath.Join(root, freshID())
	if err := os.Mkdir(first, 0o755); err != nil {
		t.Fatal(err)
	}
	id := inode(t, first)
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(root, freshID())
	if err := os.Mkdir(second, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(second) })
	if inode(t, second) == id {
		t.Fatalf("the kernel gave cgroup id %d to a second directory", id)
	}
	got := registry(t, attribution.Config{CgroupRoot: root}).Workload(t.Context(), attribution.Origin{CgroupID: id})
	if got.Assurance != workload.Unattributed || got.Kernel.Container != "" {
		t.Errorf("removed cgroup gave %+v", got)
	}
}

func TestReusedPidGivesNoClaims(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id), "CI=true")
	for name, started := range map[string]time.Time{
		"another process's start": origin.Started.Add(-time.Second),
		"unknown start":           {},
	} {
		t.Run(name, func(t *testing.T) {
			origin := origin
			origin.Started = started
			got, variables := registry(t, attribution.Config{CgroupRoot: root}).WorkloadWith(t.Context(), origin, []string{"CI"})
			if value := variables.Value("CI"); value != "" {
				t.Errorf("CI of another process is %q", value)
			}
			if got.Kernel.Exe != "" || got.Claimed.Command != nil || got.Claimed.Env != nil {
				t.Errorf("facts of another process: exe %q, claims %+v", got.Kernel.Exe, got.Claimed)
			}
			if got.Kernel.Container != id || got.Assurance != workload.Kernel {
				t.Errorf("container %q at %v, want %q at A1", got.Kernel.Container, got.Assurance, id)
			}
		})
	}
}

func TestUnitCounts(t *testing.T) {
	root := cgroupRoot(t)
	unit := "sluice-test-" + strconv.Itoa(os.Getpid()) + ".service"
	origin := job(t, filepath.Join(root, unit))
	got := registry(t, attribution.Config{CgroupRoot: root}).Workload(t.Context(), origin)
	if got.Assurance != workload.Kernel || got.Kernel.Container != "" || got.Kernel.CgroupPath != "/"+unit {
		t.Errorf("unit gave %+v", got)
	}
}

func TestMissingRuntimeLowersTheLevelOnly(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id))
	socket := filepath.Join(t.TempDir(), "absent.sock")
	for _, cfg := range []attribution.Config{{CgroupRoot: root, DockerSocket: socket}, {CgroupRoot: root, CRISocket: socket}} {
		got := registry(t, cfg).Workload(t.Context(), origin)
		if got.Assurance != workload.Kernel || got.Orch.Source != "" {
			t.Errorf("%+v: level %v from source %q, want A1 from nobody", cfg, got.Assurance, got.Orch.Source)
		}
	}
}

func TestSilentRuntimeCostsHalfASecond(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id), "CI=true")
	socket := filepath.Join(t.TempDir(), "silent.sock")
	listener, err := net.Listen("unix", socket) // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	for _, cfg := range []attribution.Config{{CgroupRoot: root, DockerSocket: socket}, {CgroupRoot: root, CRISocket: socket}} {
		began := time.Now()
		got := registry(t, cfg).Workload(t.Context(), origin)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%+v: it took %s", cfg, took)
		}
		if got.Assurance != workload.Kernel || got.Kernel.Container != id || got.Claimed.Env["CI"] != "true" {
			t.Errorf("%+v: what needs no runtime is missing: %+v", cfg, got)
		}
	}
}

// serveEngine answers every request on a unix socket as handle does.
func serveEngine(t testing.TB, handle http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handle)
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return socket
}

func TestRecordIsAskedForOnce(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id))
	var asked atomic.Int64
	socket := serveEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = fmt.Fprintf(w, `{"Id":%q,"Name":"/job","State":{"Pid":%d}}`, id, origin.PID)
	})
	r := registry(t, attribution.Config{CgroupRoot: root, DockerSocket: socket})
	for range 10 {
		if got := r.Workload(t.Context(), origin); got.Assurance != workload.Orchestrated || got.Orch.Name != "job" {
			t.Fatalf("level %v with record %+v", got.Assurance, got.Orch)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the engine was asked %d times, want once", n)
	}
}

func TestStartingContainerIsWaitedFor(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id))
	var asked atomic.Int64
	socket := serveEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		pid := 0
		if asked.Add(1) > 3 {
			pid = int(origin.PID)
		}
		_, _ = fmt.Fprintf(w, `{"Id":%q,"Name":"/job","State":{"Pid":%d}}`, id, pid)
	})
	got := registry(t, attribution.Config{CgroupRoot: root, DockerSocket: socket}).Workload(t.Context(), origin)
	if got.Assurance != workload.Orchestrated {
		t.Errorf("level %v after the engine was asked %d times", got.Assurance, asked.Load())
	}
}

func BenchmarkWorkload(b *testing.B) {
	root, id := cgroupRoot(b), freshID()
	origin := job(b, filepath.Join(root, id), "CI=true")
	socket := serveEngine(b, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"Id":%q,"Name":"/job","State":{"Pid":%d}}`, id, origin.PID)
	})
	r := attribution.New(attribution.Local(attribution.Config{CgroupRoot: root, DockerSocket: socket}), zap.NewNop())
	for b.Loop() {
		r.Workload(b.Context(), origin)
	}
}

func TestWrongAnswerOfRuntimeIsNotBelieved(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id))
	pid := strconv.Itoa(int(origin.PID))
	for name, answer := range map[string]string{
		"another container": `{"Id":"` + freshID() + `","Name":"/admin","State":{"Pid":` + pid + `}}`,
		"another process":   `{"Id":"` + id + `","Name":"/admin","State":{"Pid":` + strconv.Itoa(os.Getpid()) + `}}`,
		"not JSON":          `<html>`,
		"without end":       `{"Name":"` + strings.Repeat("x", 8<<20),
	} {
		t.Run(name, func(t *testing.T) {
			socket := serveEngine(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
			got := registry(t, attribution.Config{CgroupRoot: root, DockerSocket: socket}).Workload(t.Context(), origin)
			if got.Assurance != workload.Kernel || got.Orch.Name != "" || got.Orch.Source != "" {
				t.Errorf("level %v with record %+v", got.Assurance, got.Orch)
			}
		})
	}
}

// TestWhoConnectsFromTheNodesNetworkIsTainted has a container that its runtime says
// nothing of, as one that joined another's network which is the node's.
func TestWhoConnectsFromTheNodesNetworkIsTainted(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id))
	socket := serveEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"Id":%q,"Name":"/job","State":{"Pid":%d},"HostConfig":{"NetworkMode":"container:x"}}`, id, origin.PID)
	})
	r := registry(t, attribution.Config{CgroupRoot: root, DockerSocket: socket})
	for cookie, want := range map[uint64][]string{attribution.OwnNetns(): {workload.TaintHostNetwork}, attribution.OwnNetns() + 1: nil} {
		origin.NetnsCookie = cookie
		got := r.Workload(t.Context(), origin)
		if !slices.Equal(got.Orch.Taints, want) || got.Assurance != workload.Orchestrated {
			t.Errorf("from namespace %d: taints %v at %v, want %v", cookie, got.Orch.Taints, got.Assurance, want)
		}
	}
}

// TestEngineThatIsAwayHidesNoOthersContainers lists those of two engines, one of which
// stops to answer.
func TestEngineThatIsAwayHidesNoOthersContainers(t *testing.T) {
	answer := func(id, address string) string {
		return fmt.Sprintf(`[{"Id":%q,"Ports":[],"NetworkSettings":{"Networks":{"net":{"IPAddress":%q}}}}]`, id, address)
	}
	var away atomic.Bool
	docker, podmans := atomic.Value{}, "203.0.113.9"
	docker.Store("203.0.113.5")
	sources := attribution.Local(attribution.Config{
		CgroupRoot: cgroupRoot(t),
		DockerSocket: serveEngine(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, answer("one", docker.Load().(string)))
		}),
		PodmanSocket: serveEngine(t, func(w http.ResponseWriter, _ *http.Request) {
			if away.Load() {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, answer("two", podmans))
		}),
	})
	r := attribution.New(sources, zap.NewNop())
	look := func(wantErr bool, want map[string]string) {
		t.Helper()
		got, err := r.Containers(t.Context())
		if (err != nil) != wantErr {
			t.Errorf("error %v", err)
		}
		owners := map[string]string{}
		for addr, id := range got.Owners {
			owners[addr.String()] = id
		}
		if !maps.Equal(owners, want) {
			t.Errorf("owners %v, want %v", owners, want)
		}
	}
	look(false, map[string]string{"203.0.113.5": "one", "203.0.113.9": "two"})
	away.Store(true)
	docker.Store("203.0.113.6")
	look(true, map[string]string{"203.0.113.6": "one", "203.0.113.9": "two"})
}
