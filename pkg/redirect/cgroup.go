package redirect

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// rootInode is the inode, and the id, of the root of a cgroup v2 hierarchy. A
// cgroup namespace shows a deeper cgroup as its root, with another inode.
const rootInode = 1

// openCgroupRoot opens the root of cgroup v2 and makes sure that it is the true
// one: what is attached further down does not see all sockets.
func openCgroupRoot(path string) (*os.File, error) {
	if path == "" {
		found, err := findCgroup2()
		if err != nil {
			return nil, err
		}
		path = found
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open cgroup root: %w", err)
	}
	if err := checkCgroupRoot(dir); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func checkCgroupRoot(dir *os.File) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		return fmt.Errorf("stat file system of %s: %w", dir.Name(), err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("%s is not cgroup v2", dir.Name())
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", dir.Name(), err)
	}
	if st.Ino != rootInode {
		return fmt.Errorf("%s is not the root of cgroup v2 (inode %d): mount the host's cgroup root", dir.Name(), st.Ino)
	}
	return nil
}

// findCgroup2 returns the first place where cgroup v2 is mounted.
func findCgroup2() (string, error) {
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
