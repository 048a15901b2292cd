package attribution

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWalkFindsDirectoryByInode(t *testing.T) {
	root := t.TempDir()
	wanted := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(wanted, 0o755); err != nil {
		t.Fatal(err)
	}
	var stat syscall.Stat_t
	if err := syscall.Stat(wanted, &stat); err != nil {
		t.Fatal(err)
	}
	got, err := pathByWalk(t.Context(), root, stat.Ino)
	if err != nil || got != "/a/b" {
		t.Errorf("pathByWalk = %q, %v; want /a/b", got, err)
	}
	if _, err := pathByWalk(t.Context(), root, 1<<62); !errors.Is(err, errNoCgroup) {
		t.Errorf("unknown inode: %v, want %v", err, errNoCgroup)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pathByWalk(ended, root, stat.Ino); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v, want %v", err, context.Canceled)
	}
}

func TestNameOutsideRootIsNoAnswer(t *testing.T) {
	for _, name := range []string{"/sys/fs/cgroupx/a", "/", "/sys/fs/cgroup/a (deleted)", "/sys/fs"} {
		if got, err := below("/sys/fs/cgroup", name); !errors.Is(err, errNoCgroup) {
			t.Errorf("below(%q) = %q, %v", name, got, err)
		}
	}
	if got, err := below("/sys/fs/cgroup", "/sys/fs/cgroup"); err != nil || got != "/" {
		t.Errorf("the root itself = %q, %v", got, err)
	}
}
