package attribution

import (
	"errors"
	"strings"
)

// homeOf returns the boundary that a process's list of cgroups names.
//
// Cgroup v2 says it, if it has the process below its root. On a host with v1
// alone it has nobody there, and the hierarchies of v1 say it.
func homeOf(cgroups []byte) (boundary, error) {
	v2, v1 := hierarchies(cgroups)
	if v2 == "" && len(v1) == 0 {
		return boundary{}, errors.New("read cgroups of a process: there are none")
	}
	if v2 != "" && v2 != "/" {
		return outermost(v2), nil
	}
	_, b := agreed(v1)
	return b, nil
}

// hierarchies returns the paths in a process's list of cgroups (cgroups(7)):
// lines of number:controllers:path, of which v2's has the number 0.
func hierarchies(cgroups []byte) (v2 string, v1 []string) {
	for line := range strings.Lines(string(cgroups)) {
		field := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(field) < 3:
		case field[0] == "0":
			v2 = field[2]
		default:
			v1 = append(v1, field[2])
		}
	}
	return v2, v1
}

// agreed returns the boundary that hierarchies of v1 name, and one of the paths
// that it is read from. Those that name any must name the same: a runtime puts a
// container into all of them, and whoever can move a process in some of them
// only, as the user of a delegated subtree can, must not choose.
func agreed(paths []string) (path string, b boundary) {
	path = "/"
	for _, one := range paths {
		named := outermost(one)
		switch {
		case !named.known():
		case !b.known():
			path, b = one, named
		case b.path != named.path:
			return "/", boundary{}
		default:
			b.nested = b.nested || named.nested
		}
	}
	return path, b
}
