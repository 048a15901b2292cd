package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

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
	return newCgroup(root, name)
}

// NewBelow makes a cgroup in this one, which must be closed first.
func (c *Cgroup) NewBelow(name string) (*Cgroup, error) { return newCgroup(c.Path, name) }

func newCgroup(parent, name string) (*Cgroup, error) {
	path, err := os.MkdirTemp(parent, name+"-")
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

// Enter makes a command start in the cgroup. The cgroup must not be closed
// before that.
func (c *Cgroup) Enter(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(c.dir.Fd())
}

// Leave lets the cgroup be, for others to enter by its path and to remove.
func (c *Cgroup) Leave() error { return c.dir.Close() }

// closePatience is how long a process may take to leave its cgroup once it has
// been seen to end.
const closePatience = 2 * time.Second

// Close removes the cgroup. It fails while a process is in it that does not
// end.
func (c *Cgroup) Close() error {
	patience := time.After(closePatience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := os.Remove(c.Path)
		if !errors.Is(err, unix.EBUSY) {
			return errors.Join(c.dir.Close(), err)
		}
		select {
		case <-again.C:
		case <-patience:
			return errors.Join(c.dir.Close(), err)
		}
	}
}

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
