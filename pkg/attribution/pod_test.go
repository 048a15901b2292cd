package attribution_test

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/workload"
)

const (
	anyContainer = "1111111111111111111111111111111111111111111111111111111111111111"
	anySandbox   = "2222222222222222222222222222222222222222222222222222222222222222"
)

// answers are what a runtime says of one container and its pod.
type answers struct {
	container *cri.ContainerStatusResponse
	sandbox   *cri.PodSandboxStatusResponse
	mounts    string // the runtime's list of them; empty: it cannot be read
}

// crio answers as CRI-O does, whose details have another shape than
// containerd's (server/container_status.go).
func crio() answers {
	return answers{
		container: &cri.ContainerStatusResponse{
			Status: &cri.ContainerStatus{
				Id: anyContainer, Metadata: &cri.ContainerMetadata{Name: "main"}, Image: &cri.ImageSpec{Image: "acme/runner:1"},
			},
			Info: map[string]string{"info": `{"sandboxID":"` + anySandbox + `","pid":7,"privileged":false,"runtimeSpec":{
				"process":{"capabilities":{"bounding":["CAP_CHOWN"]}},
				"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
				"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/1"}],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"},"readonlyPaths":["/proc/sys"]}}}`},
		},
		sandbox: &cri.PodSandboxStatusResponse{
			Status: &cri.PodSandboxStatus{
				Id: anySandbox, Metadata: &cri.PodSandboxMetadata{Name: "job-1", Namespace: "ci", Uid: podUID},
				Linux: &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: &cri.NamespaceOption{}}},
			},
			Info: map[string]string{"info": `{"image":"pause","pid":6,"runtimeSpec":{"annotations":{"io.kubernetes.cri-o.PrivilegedRuntime":"false"}}}`},
		},
	}
}

// ask returns what a registry makes of the answers.
func (a answers) ask(t testing.TB) workload.Workload {
	t.Helper()
	path := filepath.Join("/kubepods/burstable/pod"+podUID, anyContainer)
	sources := attribution.Sources{
		Process: func(context.Context, uint32, time.Time) (*attribution.Process, error) { return nil, fs.ErrNotExist },
		Cgroup:  func(context.Context, uint64) (string, error) { return path, nil },
		Cgroups: func(_ context.Context, pid int) ([]byte, error) {
			if pid != 7 {
				return []byte("0::/system.slice/other.service\n"), nil
			}
			return []byte("0::" + path + "\n"), nil
		},
		PodSocket: "/run/crio/crio.sock",
		Pod: func(_ context.Context, call attribution.PodCall, id string) ([]byte, error) {
			switch {
			case call == attribution.ContainerStatus && id == anyContainer:
				return proto.Marshal(a.container)
			case call == attribution.SandboxStatus && id == anySandbox:
				return proto.Marshal(a.sandbox)
			}
			return nil, fs.ErrNotExist
		},
		Mounts: func(context.Context) ([]byte, error) {
			if a.mounts == "" {
				return nil, fs.ErrNotExist
			}
			return []byte(a.mounts), nil
		},
	}
	return attribution.New(sources, zaptest.NewLogger(t)).Workload(t.Context(), attribution.Origin{CgroupID: 1})
}

func TestRecordOfCRIO(t *testing.T) {
	want := workload.OrchFacts{
		Source: "cri", Container: anyContainer, Name: "main", Image: "acme/runner:1", Pod: podUID, PodName: "job-1", Namespace: "ci",
		Labels: map[string]string{},
	}
	if diff := cmp.Diff(want, crio().ask(t).Orch); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	a := crio()
	a.container.Info["info"] = strings.Replace(a.container.Info["info"], `"privileged":false`, `"privileged":true`, 1)
	if got := a.ask(t).Orch.Taints; len(got) != 1 || got[0] != workload.TaintPrivileged {
		t.Errorf("taints of a privileged container: %v", got)
	}
	a = crio()
	a.sandbox.Info["info"] = strings.Replace(a.sandbox.Info["info"], "false", "true", 1)
	if got := a.ask(t).Orch.Taints; len(got) != 1 || got[0] != workload.TaintBeside {
		t.Errorf("taints of a container beside a privileged one: %v", got)
	}
	a.sandbox.Info = nil
	if got := a.ask(t).Orch; got.Name != "main" || len(got.Taints) != 1 || got.Taints[0] != workload.TaintUntold {
		t.Errorf("of a pod of which nothing is told: %+v", got)
	}
}

func TestWhatTheRuntimeDoesNotTellIsSaid(t *testing.T) {
	for name, change := range map[string]func(answers){
		"how it was made":      func(a answers) { a.container.Info["info"] = `{"sandboxID":"` + anySandbox + `","pid":7}` },
		"the pod's namespaces": func(a answers) { a.sandbox.Status.Linux = nil },
	} {
		a := crio()
		change(a)
		got := a.ask(t)
		if got.Assurance != workload.Orchestrated || !got.Orch.NodeRoot() || got.Orch.Taints[0] != workload.TaintUntold {
			t.Errorf("%s: %v with taints %v, want %s", name, got.Assurance, got.Orch.Taints, workload.TaintUntold)
		}
	}
}

func TestRecordThatCannotBeCheckedIsNotBelieved(t *testing.T) {
	for name, change := range map[string]func(answers){
		"no details":          func(a answers) { a.container.Info = nil },
		"details are no JSON": func(a answers) { a.container.Info["info"] = `{"sandboxID":` },
		"pid of another type": func(a answers) { a.container.Info["info"] = `{"sandboxID":"` + anySandbox + `","pid":"7"}` },
		"no pid":              func(a answers) { a.container.Info["info"] = `{"sandboxID":"` + anySandbox + `"}` },
		"another's pid":       func(a answers) { a.container.Info["info"] = `{"sandboxID":"` + anySandbox + `","pid":8}` },
		"no sandbox":          func(a answers) { a.container.Info["info"] = `{"pid":7}` },
		"another container":   func(a answers) { a.container.Status.Id = anySandbox },
		"another sandbox":     func(a answers) { a.sandbox.Status.Id = anyContainer },
		"a pod without uid":   func(a answers) { a.sandbox.Status.Metadata.Uid = "" },
		"another pod":         func(a answers) { a.sandbox.Status.Metadata.Uid = "00000000-0000-4000-8000-000000000000" },
	} {
		a := crio()
		change(a)
		if got := a.ask(t); got.Assurance != workload.Kernel || got.Orch.PodName != "" || got.Orch.Pod != podUID {
			t.Errorf("%s: %v, %+v", name, got.Assurance, got.Orch)
		}
	}
}

func TestLabelsOfAPodAreBounded(t *testing.T) {
	a := crio()
	a.sandbox.Status.Labels = map[string]string{}
	for i := range 300 {
		a.sandbox.Status.Labels[fmt.Sprint(i)] = "x"
	}
	a.sandbox.Status.Annotations = map[string]string{"big": strings.Repeat("x", 1<<20)}
	a.sandbox.Status.Metadata.Name = "job\x1b[2J" + strings.Repeat("x", 1<<20)
	got := a.ask(t).Orch
	if len(got.Labels) != 0 || got.Taints[0] != workload.TaintLabels {
		t.Errorf("%d labels, taints %v", len(got.Labels), got.Taints)
	}
	if len(got.PodName) > 2<<10 || strings.ContainsRune(got.PodName, '\x1b') {
		t.Errorf("the pod's name has %d bytes: %.20q", len(got.PodName), got.PodName)
	}
}
