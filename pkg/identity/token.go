package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// readToken reads a token file. The kubelet makes it a link into a directory
// beside it, so links are followed, but none that leaves the directory. It
// must be a regular file that only its owner can write; a pipe in its place
// does not make the reader wait.
func readToken(path string) (string, error) {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoToken
	}
	if err != nil {
		return "", fmt.Errorf("open token directory: %w", err)
	}
	defer dir.Close() //nolint:errcheck // opened for reading only

	file, err := dir.OpenFile(filepath.Base(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoToken
	}
	if err != nil {
		return "", fmt.Errorf("open token: %w", err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only

	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("open token: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("open token: it is not a regular file")
	}
	if info.Mode().Perm()&0o022 != 0 {
		return "", errors.New("open token: others than its owner can write it")
	}
	raw, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}
