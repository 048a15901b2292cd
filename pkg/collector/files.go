package collector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluicegate/sluice/pkg/translog"
)

// dir is the collector's data directory.
type dir string

func (d dir) logKey() string           { return filepath.Join(string(d), "log.key") }        // private; never leaves
func (d dir) logPublic() string        { return filepath.Join(string(d), "log.pub") }        // verifier key
func (d dir) ownKey() string           { return filepath.Join(string(d), "collector.key") }  // private; signs what people do here
func (d dir) ownPublic() string        { return filepath.Join(string(d), "collector.pub") }  // verifier key
func (d dir) voteKey() string          { return filepath.Join(string(d), "console.key") }    // private; signs votes in the console
func (d dir) votePublic() string       { return filepath.Join(string(d), "console.pub") }    // for the roster
func (d dir) bootstrap() string        { return filepath.Join(string(d), "bootstrap.hash") } // hex SHA-256 of the token
func (d dir) trust() string            { return filepath.Join(string(d), "trust.json") }     // to be pinned by verifiers
func (d dir) newest() string           { return filepath.Join(string(d), "newest-checkpoint") }
func (d dir) agents() string           { return filepath.Join(string(d), "agents") }
func (d dir) agent(name string) string { return filepath.Join(d.agents(), name+".json") }
func (d dir) database() string         { return filepath.Join(string(d), "db") }
func (d dir) bus() string              { return filepath.Join(string(d), "bus") }

// ErrNotInitialised reports a data directory in which Init has not run.
var ErrNotInitialised = errors.New("the data directory has no log key: run sluice-collector init")

// logKeys reads the log's signer and its verifier key.
func (d dir) logKeys(origin string) (*translog.Signer, string, error) {
	skey, err := os.ReadFile(d.logKey())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", ErrNotInitialised
	}
	if err != nil {
		return nil, "", fmt.Errorf("read log key: %w", err)
	}
	signer, err := translog.NewSigner(string(skey))
	if err != nil {
		return nil, "", fmt.Errorf("read log key: %w", err)
	}
	if signer.Name() != origin {
		return nil, "", fmt.Errorf("the log key is that of %q, and the configuration's origin is %q", signer.Name(), origin)
	}
	vkey, err := os.ReadFile(d.logPublic())
	if err != nil {
		return nil, "", fmt.Errorf("read log key: %w", err)
	}
	return signer, strings.TrimSpace(string(vkey)), nil
}

// writeNew writes a file that must not be there yet, durably.
func writeNew(path string, data []byte, mode fs.FileMode) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}

// replace writes a file so that a reader sees the old content or the new.
func replace(path string, data []byte, mode fs.FileMode) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(fresh, data, mode); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
