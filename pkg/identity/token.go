package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// OpenToken opens a token file. The kubelet makes it a link into a directory
// beside it, so links are followed, but none that leaves the directory. It
// must be a regular file that only its owner can write; a pipe in its place
// does not make the reader wait.
func OpenToken(path string) (*os.File, error) {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("open token directory: %w", err)
	}
	defer dir.Close() //nolint:errcheck // opened for reading only

	file, err := dir.OpenFile(filepath.Base(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open token: %w", err)
	}
	if err := checkToken(file); err != nil {
		return nil, errors.Join(fmt.Errorf("open token: %w", err), file.Close())
	}
	return file, nil
}

func checkToken(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New("others than its owner can write it")
	}
	return nil
}

// readToken reads the token at path with an Opener.
func readToken(ctx context.Context, open Opener, path string) (string, error) {
	file, err := open(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoToken
	}
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	raw, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// TokenPath reports whether a path is what an issuer's TokenFile stands for in
// some workload.
func TokenPath(template, path string) bool {
	parts := placeholder.Split(template, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	fits, err := regexp.MatchString("^"+strings.Join(parts, pathFact)+"$", path)
	return err == nil && fits
}
