package attribution

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileIDKernfs is FILEID_KERNFS of linux/exportfs.h: the handle is the 64-bit
// id of the node, which for cgroup2 is what bpf_get_current_cgroup_id returns.
// The kernel counts a generation into it, so that a removed directory's id
// does not come back for another one.
const fileIDKernfs = 0xfe

// rootID is the id of the root of cgroup v2. On a host with v1 alone every process
// is there.
const rootID = 1

// errNoCgroup reports that no directory has the id any more, or none below our
// root.
var errNoCgroup = errors.New("no such cgroup below the root")

// cgroupPath returns the path of a cgroup below root, with a leading slash.
// It asks the kernel for the directory by its id, and walks the tree only
// where handles are forbidden.
func cgroupPath(ctx context.Context, root string, id uint64) (string, error) {
	if id == rootID {
		return "/", nil // also where it is mounted nowhere
	}
	path, err := pathByHandle(root, id)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
		path, err = pathByWalk(ctx, root, id)
	}
	if err != nil {
		return "", fmt.Errorf("find cgroup %d: %w", id, err)
	}
	return path, nil
}

// pathByHandle opens the directory by its id and reads back its name.
func pathByHandle(root string, id uint64) (string, error) {
	mount, err := os.Open(root)
	if err != nil {
		return "", err
	}
	defer mount.Close() //nolint:errcheck // opened for reading only

	handle := binary.NativeEndian.AppendUint64(nil, id)
	fd, err := unix.OpenByHandleAt(int(mount.Fd()), unix.NewFileHandle(fileIDKernfs, handle), unix.O_PATH|unix.O_CLOEXEC)
	if errors.Is(err, unix.ESTALE) {
		return "", errNoCgroup
	}
	if err != nil {
		return "", os.NewSyscallError("open_by_handle_at", err)
	}
	defer unix.Close(fd) //nolint:errcheck // a path descriptor holds no data

	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", err
	}
	return below(root, name)
}

// below strips root from name. A name outside root, or one that the kernel
// marks as deleted, is no answer.
func below(root, name string) (string, error) {
	if strings.HasSuffix(name, " (deleted)") {
		return "", errNoCgroup
	}
	rel, err := filepath.Rel(root, name)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", errNoCgroup
	}
	if rel == "." {
		return "/", nil
	}
	return "/" + rel, nil
}

// pathByWalk compares the inode number of every directory below root.
func pathByWalk(ctx context.Context, root string, id uint64) (string, error) {
	found := ""
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !entry.IsDir() {
			return nil // a directory that went away in the meantime
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Ino == id {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if found == "" {
		return "", errNoCgroup
	}
	return below(root, found)
}
