package attribution

import (
	"regexp"
	"strings"
)

// boundary is what a cgroup path says about the container or unit around a
// process.
type boundary struct {
	container string // full id, 64 hex digits; empty for a unit
	unit      string // systemd unit; empty for a container
	pod       string // uid, where the kubelet made the path
	path      string // cgroup of the boundary itself
	nested    bool   // a further container lies inside it
	podman    bool   // the container is Podman's
}

func (b boundary) known() bool { return b.container != "" || b.unit != "" }

var (
	// containerName matches what the runtimes call a container's cgroup:
	// "<id>" with the cgroupfs driver, "docker-<id>.scope" with systemd's.
	// A "…-conmon-<id>.scope" holds the monitor, not the container.
	// Podman leaves its prefix in neither.
	containerName = regexp.MustCompile(`^(?:(docker|cri-containerd|crio|libpod|libpod-payload|nerdctl)-)?([0-9a-f]{64})(?:\.scope)?$`)
	// podName matches the kubelet's cgroup of a pod. systemd's driver writes
	// the uid with underscores.
	podName = regexp.MustCompile(`^(?:kubepods(?:-besteffort|-burstable)?-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$`)
)

// podmansPods is the cgroup in which Podman makes those of its containers and pods
// with the cgroupfs driver.
const podmansPods = "libpod_parent"

// outermost reads a path from the root downwards and stops at the first
// boundary: whoever is inside it can make directories below it and nowhere
// else, so whatever follows may be forged and is only noted as nesting. A unit
// is such a boundary too, as systemd may have delegated its subtree, which is
// where people make cgroups of their own. A kubelet's tree begins anywhere
// above that, since it may have been given a cgroup to begin in.
func outermost(path string) boundary {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	kubelet := false // part is below what a kubelet made
	b := boundary{}
	for i, part := range parts {
		here := "/" + strings.Join(parts[:i+1], "/")
		kubelet = kubelet || part == "kubepods" || part == "kubepods.slice"
		if m := podName.FindStringSubmatch(part); m != nil && kubelet && b.pod == "" {
			b.pod = strings.ReplaceAll(m[1], "_", "-")
			continue
		}
		if m := containerName.FindStringSubmatch(part); m != nil {
			if m[1] == "" && i > 0 && parts[i-1] == podmansPods {
				continue // a pod, whose containers are below it
			}
			b.container, b.podman, b.path = m[2], m[1] == "libpod", here
			b.nested = holdsContainer(parts[i+1:])
			return b
		}
		if isUnit(part) {
			return boundary{unit: part, path: here, nested: holdsContainer(parts[i+1:])}
		}
	}
	return boundary{}
}

// isUnit reports whether a component ends the part of the tree that only the
// node's owner shapes. Slices merely group units and are systemd's own.
func isUnit(part string) bool {
	return strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope")
}

func holdsContainer(parts []string) bool {
	for _, part := range parts {
		if containerName.MatchString(part) {
			return true
		}
	}
	return false
}
