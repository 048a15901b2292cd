package issuer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Project writes a token into a directory as the kubelet projects one: the
// file is a link into a directory that is swapped whole
// (kubernetes/pkg/volume/util/atomic_writer.go). Calling it again rotates the
// token.
func Project(dir, token string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("project token: %w", err)
	}
	version, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return fmt.Errorf("project token: %w", err)
	}
	err = errors.Join(
		os.Chmod(version, 0o755),
		os.WriteFile(filepath.Join(version, "token"), []byte(token), 0o644),
		relink(filepath.Base(version), filepath.Join(dir, "..data")),
		relink("..data/token", filepath.Join(dir, "token")),
	)
	if err != nil {
		return fmt.Errorf("project token: %w", err)
	}
	return nil
}

// relink makes name a link to destination, in one step.
func relink(destination, name string) error {
	next := name + "_tmp"
	if err := os.Symlink(destination, next); err != nil {
		return err
	}
	return os.Rename(next, name)
}
