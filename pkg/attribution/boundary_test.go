package attribution

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
)

func TestPathNamesOutermostBoundary(t *testing.T) {
	const uid = "2f1d4b6e-0c1a-4a57-9a3c-5d8e7f901234"
	uidUnderscores := strings.ReplaceAll(uid, "-", "_")
	podScope := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidUnderscores + ".slice"
	tests := []struct {
		name, path string
		want       boundary
	}{
		{"root", "/", boundary{}},
		{"docker, cgroupfs driver", "/docker/" + idA, boundary{container: idA, path: "/docker/" + idA}},
		{
			"docker, systemd driver", "/system.slice/docker-" + idA + ".scope/init",
			boundary{container: idA, path: "/system.slice/docker-" + idA + ".scope"},
		},
		{
			"containerd under the kubelet", podScope + "/cri-containerd-" + idA + ".scope",
			boundary{container: idA, pod: uid, path: podScope + "/cri-containerd-" + idA + ".scope"},
		},
		{
			"CRI-O with a child cgroup", podScope + "/crio-" + idA + ".scope/container",
			boundary{container: idA, pod: uid, path: podScope + "/crio-" + idA + ".scope"},
		},
		{
			"kubelet, cgroupfs driver", "/kubepods/burstable/pod" + uid + "/" + idA,
			boundary{container: idA, pod: uid, path: "/kubepods/burstable/pod" + uid + "/" + idA},
		},
		{
			"podman", "/machine.slice/libpod-" + idA + ".scope/container",
			boundary{container: idA, podman: true, path: "/machine.slice/libpod-" + idA + ".scope"},
		},
		{
			"podman, cgroupfs driver", "/libpod_parent/libpod-" + idA,
			boundary{container: idA, podman: true, path: "/libpod_parent/libpod-" + idA},
		},
		{
			"podman's pod, systemd driver", "/machine.slice/machine-libpod_pod_" + idB + ".slice/libpod-" + idA + ".scope",
			boundary{container: idA, podman: true, path: "/machine.slice/machine-libpod_pod_" + idB + ".slice/libpod-" + idA + ".scope"},
		},
		{
			"podman's pod, cgroupfs driver", "/libpod_parent/" + idB + "/libpod-" + idA,
			boundary{container: idA, podman: true, path: "/libpod_parent/" + idB + "/libpod-" + idA},
		},
		{
			"look-alike of podman's pod below a container", "/docker/" + idA + "/libpod_parent/" + idB + "/libpod-" + idB,
			boundary{container: idA, path: "/docker/" + idA, nested: true},
		},
		{
			"podman in podman names the outer one", "/libpod_parent/libpod-" + idA + "/libpod_parent/libpod-" + idB,
			boundary{container: idA, podman: true, path: "/libpod_parent/libpod-" + idA, nested: true},
		},
		{
			"podman in a unit of its own", "/system.slice/runner.service/libpod-payload-" + idA,
			boundary{unit: "runner.service", path: "/system.slice/runner.service", nested: true},
		},
		{
			"a user's podman", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + idA + ".scope/container",
			boundary{unit: "user@1000.service", path: "/user.slice/user-1000.slice/user@1000.service", nested: true},
		},
		{
			"podman's monitor is a unit", "/machine.slice/libpod-conmon-" + idA + ".scope",
			boundary{unit: "libpod-conmon-" + idA + ".scope", path: "/machine.slice/libpod-conmon-" + idA + ".scope"},
		},
		{
			"runner as a unit", "/system.slice/actions.runner.service",
			boundary{unit: "actions.runner.service", path: "/system.slice/actions.runner.service"},
		},
		{
			"SSH session", "/user.slice/user-1000.slice/session-3.scope",
			boundary{unit: "session-3.scope", path: "/user.slice/user-1000.slice/session-3.scope"},
		},
		{
			"docker in docker names the outer one", "/docker/" + idA + "/docker/" + idB,
			boundary{container: idA, path: "/docker/" + idA, nested: true},
		},
		{
			"look-alike below a container", "/docker/" + idA + "/kubepods/pod" + uid + "/" + idB,
			boundary{container: idA, path: "/docker/" + idA, nested: true},
		},
		{
			"look-alike in a delegated unit", "/user.slice/user-1000.slice/user@1000.service/docker-" + idB + ".scope",
			boundary{unit: "user@1000.service", path: "/user.slice/user-1000.slice/user@1000.service", nested: true},
		},
		{
			"look-alike of a pod outside the kubelet's tree", "/jobs/pod" + uid + "/" + idA,
			boundary{container: idA, path: "/jobs/pod" + uid + "/" + idA},
		},
		{"short id", "/docker/" + idA[:63], boundary{}},
		{"upper case is no id", "/docker/" + strings.ToUpper(idA), boundary{}},
		{"build step", "/docker/buildkit/u1wfb2k4", boundary{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, outermost(test.path), cmp.AllowUnexported(boundary{})); diff != "" {
				t.Errorf("outermost(%q) (-want +got):\n%s", test.path, diff)
			}
		})
	}
}

func FuzzOutermost(f *testing.F) {
	f.Add("/docker/" + idA + "/docker/" + idB)
	f.Add("//")
	f.Fuzz(func(t *testing.T, path string) {
		b := outermost(path)
		if b.container != "" && b.unit != "" {
			t.Errorf("outermost(%q) is both container and unit: %+v", path, b)
		}
		if b.known() != (b.path != "") {
			t.Errorf("outermost(%q) has no path for its boundary: %+v", path, b)
		}
	})
}
