package attribution

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sluicegate/sluice/pkg/workload"
)

// verbose is what we read of the JSON that a runtime adds to a verbose answer.
// CRI leaves its shape to the runtime: this is what containerd 1.6 to 2.x
// (pkg/cri/server) and CRI-O (server/container_status.go) have in common, and
// where each says that a container is privileged.
type verbose struct {
	SandboxID  string `json:"sandboxID"`
	Pid        int    `json:"pid"`
	Privileged bool   `json:"privileged"` // CRI-O's
	Config     struct {
		Linux struct {
			SecurityContext struct {
				Privileged bool `json:"privileged"`
			} `json:"security_context"`
		} `json:"linux"`
	} `json:"config"` // containerd's
	RuntimeSpec runtimeSpec `json:"runtimeSpec"`
}

// runtimeSpec is what we read of the OCI runtime specification's config.json,
// with which the container was made.
type runtimeSpec struct {
	Annotations map[string]string `json:"annotations"`
	Process     struct {
		Capabilities    struct{ Bounding []string } `json:"capabilities"`
		ApparmorProfile string                      `json:"apparmorProfile"`
	} `json:"process"`
	Mounts []struct{ Destination, Source string } `json:"mounts"`
	Linux  *struct {
		Namespaces    []struct{ Type, Path string } `json:"namespaces"`
		Seccomp       *struct{}                     `json:"seccomp"`
		ReadonlyPaths []string                      `json:"readonlyPaths"`
	} `json:"linux"` // nil: it is not told
}

func parseVerbose(info map[string]string) (verbose, error) {
	var v verbose
	text, found := info["info"]
	if !found {
		return v, errors.New("the runtime tells no details")
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("decode the runtime's details: %w", err)
	}
	return v, nil
}

// privileged reports that a container is privileged or, of a sandbox, that one of
// its pod is: the kubelet makes the sandbox so. CRI-O notes that in an annotation.
func (v verbose) privileged() bool {
	return v.Privileged || v.Config.Linux.SecurityContext.Privileged || v.RuntimeSpec.Annotations["io.kubernetes.cri-o.PrivilegedRuntime"] == "true"
}

// podTaints returns what weakens the boundary of a container, or of the sandbox
// itself, whose status is nil. around are the sandbox's details, sockets are where
// the node's runtimes listen, and node returns its mounts.
func podTaints(status *cri.ContainerStatus, sandbox *cri.PodSandboxStatus, v, around verbose, sockets []string, node func() []mount) []string {
	var all taints
	options := sandbox.GetLinux().GetNamespaces().GetOptions()
	all.add(workload.TaintPrivileged, v.privileged())
	all.add(workload.TaintBeside, around.privileged() && !v.privileged())
	all.add(workload.TaintHostPID, options.GetPid() == cri.NamespaceMode_NODE)
	all.add(workload.TaintHostNetwork, options.GetNetwork() == cri.NamespaceMode_NODE)
	all.addSpec(&v.RuntimeSpec)
	mounts := podMounts{pod: sandbox.GetMetadata().GetUid(), sockets: sockets, node: node}
	for _, mount := range status.GetMounts() {
		mounts.see(mount.GetHostPath(), v.RuntimeSpec.mountedAt(mount.GetContainerPath()), mount.GetReadonly())
	}
	all.add(workload.TaintRuntimeSocket, mounts.socket)
	all.add(workload.TaintHostPath, mounts.system)
	all.add(workload.TaintUntold, mounts.untold || options == nil)
	return all
}

// hasOwn reports whether the container does not share the node's namespace of a
// type: runc leaves a container in its own where config.json names none. A path
// is a namespace that was there before, which is the pod's.
func (s runtimeSpec) hasOwn(kind string) bool {
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == kind {
			return true
		}
	}
	return false
}

// mountedAt returns where a mount leads: the runtime has followed the links that
// a path on the node may have.
func (s runtimeSpec) mountedAt(destination string) string {
	for _, mount := range s.Mounts {
		if path.Clean(mount.Destination) == path.Clean(destination) {
			return mount.Source
		}
	}
	return ""
}

// unconfined reports that nothing filters the system calls, which is what
// Kubernetes does by default, or that AppArmor was switched off.
func (s runtimeSpec) unconfined() bool {
	return s.Linux.Seccomp == nil || s.Process.ApparmorProfile == "unconfined"
}

// canWriteSettings reports that the kernel's settings are writable.
func (s runtimeSpec) canWriteSettings() bool {
	return !slices.Contains(s.Linux.ReadonlyPaths, kernelSettings)
}

// podMounts judges what is mounted into a container of a pod.
type podMounts struct {
	pod     string // its uid
	sockets []string
	node    func() []mount // all mounts of the node; none where they cannot be told

	socket, system, untold bool
}

// see judges a mount by the path that was asked for, and by where that leads. A
// sub-path is looked up by the latter alone: no mount is listed under a link.
func (m *podMounts) see(asked, leads string, readonly bool) {
	m.look(leads, readonly)
	if _, is := asSubPath(leads, m.pod); !is {
		m.look(asked, readonly)
	}
}

// look judges one source; empty is an image, or what the runtime makes itself.
func (m *podMounts) look(source string, readonly bool) {
	if source == "" {
		return
	}
	if s, is := asSubPath(source, m.pod); is {
		names, certain := s.behind(m.node())
		m.untold = m.untold || !certain
		for _, name := range names {
			m.judge(name, readonly)
		}
		return
	}
	if strings.Contains(canonical(source), "/pods/"+m.pod+"/") {
		return // the kubelet's own directory of this pod, with its volumes
	}
	m.judge(source, readonly)
}

func (m *podMounts) judge(source string, readonly bool) {
	m.socket = m.socket || reachesSocket(source, m.sockets)
	m.system = m.system || !readonly && isSystemPath(source)
}
