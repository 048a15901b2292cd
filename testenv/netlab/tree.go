package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// RemoveCgroups removes a cgroup and all below it, in every hierarchy that this
// machine has. Container runtimes leave theirs behind. Its processes must have
// been told to end.
func RemoveCgroups(name string) error {
	if len(strings.Trim(filepath.Clean("/"+name), "/")) == 0 {
		return errors.New("remove cgroups: the root is everybody's")
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("remove cgroups: %w", err)
	}
	var errs []error
	for line := range strings.Lines(string(mounts)) {
		if field := strings.Fields(line); len(field) > 2 && (field[2] == "cgroup2" || field[2] == "cgroup") {
			errs = append(errs, removeTree(filepath.Join(field[1], name)))
		}
	}
	return errors.Join(errs...)
}

// removeTree removes what is deepest first.
func removeTree(root string) error {
	var all []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	slices.Reverse(all)
	for _, dir := range all {
		err = errors.Join(err, removeIdle(dir))
	}
	return err
}

// removeIdle waits for processes that are ending.
func removeIdle(dir string) error {
	for deadline := time.Now().Add(closePatience); ; time.Sleep(10 * time.Millisecond) {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}
