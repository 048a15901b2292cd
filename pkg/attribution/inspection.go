package attribution

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/workload"
)

const (
	maxLabels     = 256
	maxLabelBytes = 16 << 10 // names and values together
)

// inspection is what we read of the Engine's answer to
// GET /containers/{id}/json (Docker Engine API v1.24 to v1.51), and of Podman's to
// GET /v4.0.0/libpod/containers/{id}/json.
type inspection struct {
	ID    string `json:"Id"`
	Name  string
	Image string // its digest, sha256:…
	State struct {
		Pid int
	}
	Config struct {
		Image  string
		Labels map[string]string
	}
	HostConfig struct {
		Privileged  bool
		PidMode     string
		NetworkMode string
		CapAdd      []string
		SecurityOpt []string
		// ReadonlyPaths are not there before API v1.38; the engine fills them in
		// unless they were switched off.
		ReadonlyPaths []string
	}
	Mounts []struct {
		Source string
		RW     bool
	}

	Pod  string       // Podman's id of the pod that it is in
	spec *runtimeSpec // Podman's; nil: it is not known
}

// parseInspection decodes a record and, where it is there, what follows: the OCI
// runtime's configuration.
func parseInspection(answer []byte) (record inspection, err error) {
	documents := json.NewDecoder(bytes.NewReader(answer))
	if err := documents.Decode(&record); err != nil {
		return record, err
	}
	if err := documents.Decode(&record.spec); err != nil && !errors.Is(err, io.EOF) {
		return record, err
	}
	return record, nil
}

// facts puts the record into our words, with all text made safe to print.
// sockets are where the node's runtimes listen, and fromImage the labels that the
// image brings: the engine shows them among the container's, but whoever chose
// the image wrote them.
func (i inspection) facts(of Engine, sockets []string, fromImage map[string]string) workload.OrchFacts {
	facts := workload.OrchFacts{
		Source:    of.String(),
		Container: i.ID,
		Name:      printable(strings.TrimPrefix(i.Name, "/"), maxValue),
		Image:     printable(i.Config.Image, maxValue),
		Taints:    i.taints(of, sockets),
	}
	own := maps.Clone(i.Config.Labels)
	maps.DeleteFunc(own, func(name, value string) bool {
		brought, found := fromImage[name]
		return found && brought == value
	})
	labels, ok := boundedLabels(own)
	if !ok {
		facts.Taints = append(facts.Taints, workload.TaintLabels)
		return facts
	}
	facts.Labels = labels
	return facts
}

// boundedLabels returns all labels or, when they are too many, none: a part of
// them would let whoever adds labels choose which ones are seen.
func boundedLabels(labels map[string]string) (map[string]string, bool) {
	if len(labels) > maxLabels {
		return nil, false
	}
	size := 0
	bounded := make(map[string]string, len(labels))
	for name, value := range labels {
		size += len(name) + len(value)
		bounded[printable(name, maxValue)] = printable(value, maxLabelBytes)
	}
	return bounded, size <= maxLabelBytes
}

// taints returns what weakens a container's boundary. Podman says nothing of the
// kernel's settings, nor of what its own configuration adds: that the OCI runtime's
// does. Whether another container of its pod is privileged nobody asks Podman.
func (i inspection) taints(of Engine, sockets []string) []string {
	var all taints
	all.add(workload.TaintPrivileged, i.HostConfig.Privileged)
	all.add(workload.TaintHostPID, i.HostConfig.PidMode == "host" || strings.HasPrefix(i.HostConfig.PidMode, "container:"))
	all.add(workload.TaintHostNetwork, i.HostConfig.NetworkMode == "host")
	all.add(workload.TaintCapability, slices.ContainsFunc(i.HostConfig.CapAdd, isPowerful))
	all.add(workload.TaintUnconfined, slices.ContainsFunc(i.HostConfig.SecurityOpt, isUnconfined))
	socket, system := false, false
	for _, mount := range i.Mounts {
		socket = socket || reachesSocket(mount.Source, sockets)
		system = system || mount.RW && isSystemPath(mount.Source)
	}
	all.add(workload.TaintRuntimeSocket, socket)
	settings := i.HostConfig.ReadonlyPaths != nil && !slices.Contains(i.HostConfig.ReadonlyPaths, kernelSettings)
	all.add(workload.TaintHostPath, system || settings)
	if of == Podman {
		all.addSpec(i.spec)
		all.add(workload.TaintUntold, i.Pod != "")
	}
	return all
}

// taints is a list in which each is once.
type taints []string

func (t *taints) add(taint string, holds bool) {
	if holds && !slices.Contains(*t, taint) {
		*t = append(*t, taint)
	}
}

// addSpec adds what the OCI runtime was told.
func (t *taints) addSpec(spec *runtimeSpec) {
	if spec == nil || spec.Linux == nil {
		t.add(workload.TaintUntold, true)
		return
	}
	t.add(workload.TaintHostPID, !spec.hasOwn("pid"))
	t.add(workload.TaintHostNetwork, !spec.hasOwn("network"))
	t.add(workload.TaintCapability, slices.ContainsFunc(spec.Process.Capabilities.Bounding, isPowerful))
	t.add(workload.TaintUnconfined, spec.unconfined())
	t.add(workload.TaintHostPath, spec.canWriteSettings())
}

// kernelSettings is where the kernel's settings are. One of them names a program
// that the kernel runs as the node's root (core(5)), so whoever can write there
// as root can become that, without any capability.
const kernelSettings = "/proc/sys"

// isPowerful names the capabilities that make a process root on the node or
// let it read other processes (capabilities(7)).
func isPowerful(capability string) bool {
	switch strings.TrimPrefix(strings.ToUpper(capability), "CAP_") {
	case "ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF":
		return true
	}
	return false
}

func isUnconfined(option string) bool {
	option = strings.ReplaceAll(option, ":", "=")
	return option == "seccomp=unconfined" || option == "apparmor=unconfined" || option == "label=disable"
}

// runtimeSockets are where the container runtimes listen.
var runtimeSockets = []string{
	"/run/docker.sock", "/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/podman/podman.sock",
}

// userSockets is where users' own service managers and runtimes listen.
const userSockets = "/run/user"

// reachesSocket reports whether a mount of source holds a runtime's socket,
// itself or in a directory above it. A read-only mount does not keep anybody
// from connecting.
func reachesSocket(source string, sockets []string) bool {
	source = canonical(source)
	if _, within := beneath(userSockets, source); within {
		return true
	}
	reaches := func(socket string) bool {
		return source == socket || source == "/" || strings.HasPrefix(socket, source+"/")
	}
	return slices.ContainsFunc(runtimeSockets, reaches) ||
		slices.ContainsFunc(sockets, func(socket string) bool { return reaches(canonical(socket)) })
}

var (
	// systemPaths are directories below which every write can change the node.
	systemPaths = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var/lib/kubelet"}
	// statePaths are the runtimes' own; what a volume mounts lies below them.
	statePaths = []string{"/opt/cni/bin", "/var/lib/containerd", "/var/lib/containers/storage", "/var/lib/docker"}
)

// isSystemPath reports whether writing below source can change the node.
func isSystemPath(source string) bool {
	source = canonical(source)
	holds := func(dir string) bool {
		return source == "/" || source == dir || strings.HasPrefix(dir, source+"/")
	}
	within := func(dir string) bool { return strings.HasPrefix(source, dir+"/") }
	return slices.ContainsFunc(systemPaths, within) ||
		slices.ContainsFunc(systemPaths, holds) ||
		slices.ContainsFunc(statePaths, holds)
}

// canonical cleans a path and follows the one link that every system has.
func canonical(source string) string {
	source = path.Clean("/" + source)
	if source == "/var/run" || strings.HasPrefix(source, "/var/run/") {
		return strings.TrimPrefix(source, "/var")
	}
	return source
}
