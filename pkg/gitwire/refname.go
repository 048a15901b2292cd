package gitwire

import "strings"

// validRef reports whether git would take name for a reference that a push may
// change: git-check-ref-format(1), below refs/. A server refuses the others,
// or should; here they end the push, so that no rule has to think of them.
func validRef(name string) bool {
	if !strings.HasPrefix(name, "refs/") || strings.HasSuffix(name, ".") || len(name) > maxRef {
		return false
	}
	if strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.ContainsAny(name, " ~^:?*[\\\x7f") {
		return false
	}
	for i := range len(name) {
		if name[i] < ' ' {
			return false
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// maxRef bounds a reference's name: no file system keeps one that is longer.
const maxRef = 4 << 10
