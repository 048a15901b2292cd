package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Cgroup is a child of the root of cgroup v2.
type Cgroup struct {
	Path string
	ID   uint64 // as bpf_get_current_cgroup_id names it

	dir *os.File
}

// NewCgroup makes a cgroup whose name begins with name.
func NewCgroup(name string) (*Cgroup, error) {
	root, err := cgroup2()
	if err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(root, name+"-")
	if err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open cgroup: %w", err), os.Remove(path))
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("stat cgroup: %w", err), dir.Close(), os.Remove(path))
	}
	return &Cgroup{Path: path, ID: st.Ino, dir: dir}, nil
}

// FD is for syscall.SysProcAttr's CgroupFD. It is valid until Close.
func (c *Cgroup) FD() int { return int(c.dir.Fd()) }

// Add moves a process into the cgroup.
func (c *Cgroup) Add(pid int) error {
	if err := os.WriteFile(filepath.Join(c.Path, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		return fmt.Errorf("move process to cgroup: %w", err)
	}
	return nil
}

// Close removes the cgroup. It fails while a process is in it.
func (c *Cgroup) Close() error { return errors.Join(c.dir.Close(), os.Remove(c.Path)) }

func cgroup2() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("find cgroup v2: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if field := strings.Fields(line); len(field) > 2 && field[2] == "cgroup2" {
			return field[1], nil
		}
	}
	return "", errors.New("find cgroup v2: it is mounted nowhere")
}
