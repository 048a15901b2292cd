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
	name, _ := owner(path)
	return name, nil
}

// cgroupPath returns the path of a process's cgroup in v2; where that has all
// processes in its root, in the hierarchies of v1, the one that names an owner.
func cgroupPath(process string) (string, error) {
	text, err := os.ReadFile(filepath.Join(process, "cgroup"))
	if err != nil {
		return "", fmt.Errorf("read cgroup of process: %w", err)
	}
	var v1 []string
	for line := range strings.Lines(string(text)) {
		field := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // number:controllers:path (cgroups(7))
		switch {
		case len(field) < 3:
		case field[0] != "0":
			v1 = append(v1, field[2])
		case field[2] != "/" && field[2] != "":
			return field[2], nil
		}
	}
	for _, path := range v1 {
		if _, named := owner(path); named {
			return path, nil
		}
	}
	return "/", nil
}

// owner returns the cgroup that is named after the outermost container or unit.
func owner(cgroup string) (path string, named bool) {
	parts := strings.Split(cgroup, "/")
	for i, part := range parts {
		if container.MatchString(part) || strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
			return strings.Join(parts[:i+1], "/"), true
		}
	}
	return cgroup, false
}
