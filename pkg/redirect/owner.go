package redirect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// namespacesPerOwner is in how many network namespaces of one container, or of
// one unit of systemd, the agent listens at once. Each costs it three
// descriptors and two goroutines.
const namespacesPerOwner = 256

// errTooMany means that an owner has as many as it may.
var errTooMany = errors.New("too many network namespaces of one container")

// container matches the part of a cgroup's path that a container runtime names
// after its container.
var container = regexp.MustCompile(`(^|[^0-9a-f])[0-9a-f]{64}($|[^0-9a-f])`)

// ownerOf returns who answers for the network namespaces of a process: the
// cgroup of its outermost container, or of its unit. Whatever cgroups a
// container makes inside its own, it stays one owner.
func ownerOf(process string) (string, error) {
	path, err := cgroupPath(process)
	if err != nil {
		return "", err
	}
	return owner(path), nil
}

// cgroupPath returns the path of a process's cgroup below the root.
func cgroupPath(process string) (string, error) {
	text, err := os.ReadFile(filepath.Join(process, "cgroup"))
	if err != nil {
		return "", fmt.Errorf("read cgroup of process: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path), nil
		}
	}
	return "", errors.New("read cgroup of process: it has none in cgroup v2")
}

func owner(cgroup string) string {
	parts := strings.Split(cgroup, "/")
	for i, part := range parts {
		if container.MatchString(part) || strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
			return strings.Join(parts[:i+1], "/")
		}
	}
	return cgroup
}
