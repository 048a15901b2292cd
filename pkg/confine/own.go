package confine

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Own makes dir, if it is missing, and gives it to u with all that is in it,
// as long as it is root's: nobody else can then have put a link there. A
// directory that is somebody else's already is refused.
func Own(dir string, u User) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer root.Close() //nolint:errcheck // opened for reading only
	info, err := root.Stat(".")
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	switch owner := int(info.Sys().(*syscall.Stat_t).Uid); owner {
	case u.UID:
		return nil
	case 0:
		return give(root, u)
	default:
		return fmt.Errorf("directory %s belongs to user %d, neither to root nor to user %d", dir, owner, u.UID)
	}
}

// give changes the owner of all in a directory, and of the directory itself at
// last, so that a run that was cut short is done again.
func give(root *os.Root, u User) error {
	var paths []string
	err := fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		return fmt.Errorf("list directory: %w", err)
	}
	for i := len(paths) - 1; i >= 0; i-- {
		if err := root.Lchown(paths[i], u.UID, u.GID); err != nil {
			return fmt.Errorf("give directory away: %w", err)
		}
	}
	return nil
}
