package redirect

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// rootInode is the inode, and the id, of the root of a cgroup v2 hierarchy. A
// cgroup namespace shows a deeper cgroup as its root, with another inode.
const rootInode = 1

// openCgroupRoot opens the root of cgroup v2 and makes sure that it is the true
// one: what is attached further down does not see all sockets. Where nobody
// mounted it, on a host with v1 alone, the file has no name.
func openCgroupRoot(path string) (*os.File, error) {
	if path == "" {
		found, err := findMount("cgroup2", "")
		if err != nil {
			return nil, err
		}
		path = found
	}
	dir, err := openRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open cgroup root: %w", err)
	}
	if err := checkCgroupRoot(dir); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func openRoot(path string) (*os.File, error) {
	if path == "" {
		return mountCgroup2()
	}
	return os.Open(path)
}

// mountCgroup2 mounts cgroup v2 where nobody else sees it; the mount ends with the
// file. Every process is in its root, whatever v1 says of it: what is attached
// there sees all sockets, and tells none of their cgroups from another.
func mountCgroup2() (*os.File, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs) //nolint:errcheck // the mount has its own hold
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(mount) //nolint:errcheck // a path descriptor; what is opened below it holds the mount
	dir, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	return os.NewFile(uintptr(dir), ""), nil
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

// findMount returns the first place where a file system of this type, with this
// option unless it is empty, is mounted; nothing where there is none.
func findMount(kind, option string) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("find cgroups: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		field := strings.Fields(line)
		if len(field) < 4 || field[2] != kind {
			continue
		}
		if option == "" || slices.Contains(strings.Split(field[3], ","), option) {
			return field[1], nil
		}
	}
	return "", nil
}

// watchedRoot is below which containers' cgroups are made: v2, or where it names
// nobody, a hierarchy of v1 that every container runtime uses.
func (r *Redirect) watchedRoot() (string, error) {
	if r.cgroups != "" {
		return r.cgroups, nil
	}
	root, err := findMount("cgroup", "devices")
	if err == nil && root == "" {
		err = errors.New("neither cgroup v2 nor the devices of v1 are mounted")
	}
	return root, err
}
