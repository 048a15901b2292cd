// Package credential reads what the agent logs in to servers with.
//
// A secret is read anew at each use, so that changing the file is enough to
// change the password. A file that anybody but its owner could have read, or
// that somebody else could have put there, is refused. The package keeps
// nothing, and its errors name paths, never what stands in a file. Opening and
// reading are apart, because whoever may open a secret need not be the one who
// uses it.
//
// It cannot tell a secret that is old from one that is current, and it does
// not wipe memory.
package credential

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxBytes is how long a secret of one line may be.
const MaxBytes = 4 << 10

// MaxTokenBytes is how long a token may be.
const MaxTokenBytes = 16 << 10

// MaxKeyBytes is how long a key or a certificate may be.
const MaxKeyBytes = 64 << 10

// maxLinks is how many symbolic links one path may go through, as in Linux.
const maxLinks = 40

// File is the path of a file with one secret in it.
type File string

// Open opens the file.
//
// The file must be a regular one that belongs to root or to us, and that
// nobody else may read or write. Symbolic links are followed, since that is
// how Kubernetes mounts secrets, but every link and every directory on the way
// must be such that only root and we can change it.
func (f File) Open() (*os.File, error) {
	file, err := f.open()
	if err != nil {
		return nil, fmt.Errorf("open secret %s: %w", string(f), err)
	}
	return file, nil
}

func (f File) open() (*os.File, error) {
	path, err := trusted(string(f))
	if err != nil {
		return nil, err
	}
	// Not blocking: opening a FIFO would wait for a writer.
	file, err := os.OpenFile(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	if err := private(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Read returns the secret in a file of File.Open, without the newline that
// editors put behind it.
func Read(file io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", withoutPath(err))
	}
	secret, err := clean(content)
	if err != nil {
		return "", fmt.Errorf("read secret: it %w", err)
	}
	return secret, nil
}

// ReadKey returns what stands in a file of File.Open, which may have many
// lines, as keys and certificates have.
func ReadKey(file io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(file, MaxKeyBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read key: %w", withoutPath(err))
	case len(content) > MaxKeyBytes:
		return nil, fmt.Errorf("read key: it is longer than %d bytes", MaxKeyBytes)
	case len(content) == 0:
		return nil, errors.New("read key: it is empty")
	}
	return content, nil
}

// ReadToken returns the bearer token (RFC 6750) in a file of File.Open, without
// the white space around it. It stands in a field of HTTP, so that it is refused
// when it holds anything but the letters, digits and signs of such a field.
func ReadToken(file io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(file, MaxTokenBytes+1))
	if err != nil {
		return "", fmt.Errorf("read token: %w", withoutPath(err))
	}
	if len(content) > MaxTokenBytes {
		return "", fmt.Errorf("read token: it is longer than %d bytes", MaxTokenBytes)
	}
	token := string(bytes.TrimSpace(content))
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	switch {
	case token == "":
		return "", errors.New("read token: it is empty")
	case strings.ContainsFunc(token, odd):
		return "", errors.New("read token: it holds what no token has: write the token alone")
	}
	return token, nil
}

// clean checks a file's content and takes the newline off.
func clean(content []byte) (string, error) {
	if len(content) > MaxBytes {
		return "", fmt.Errorf("is longer than %d bytes", MaxBytes)
	}
	content = bytes.TrimSuffix(content, []byte("\n"))
	content = bytes.TrimSuffix(content, []byte("\r"))
	switch {
	case len(content) == 0:
		return "", errors.New("is empty")
	case bytes.ContainsAny(content, "\x00\n"):
		return "", errors.New("holds more than one line, or a zero byte: write the secret alone")
	}
	return string(content), nil
}

// private checks an open file's owner and mode.
func private(file *os.File) error {
	var info unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &info); err != nil {
		return err
	}
	switch {
	case info.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("is not a regular file")
	case info.Mode&0o077 != 0:
		return fmt.Errorf("has mode %04o: nobody but its owner may read it (chmod 600)", info.Mode&0o7777)
	case !ours(info.Uid):
		return fmt.Errorf("belongs to user %d: it must belong to root or to the user that runs this program", info.Uid)
	}
	return nil
}

// trusted resolves path and refuses it if anybody else could make it lead
// elsewhere. What it returns has no link in it.
func trusted(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	reached, rest, links := "/", strings.TrimPrefix(path, "/"), 0
	for rest != "" {
		if err := unchangeable(reached); err != nil {
			return "", err
		}
		var step string
		step, rest, _ = strings.Cut(rest, "/")
		next := filepath.Join(reached, step) // also takes .. back, which is right as reached has no link
		target, err := link(next)
		if err != nil {
			return "", err
		}
		if target == "" {
			reached = next
			continue
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		if filepath.IsAbs(target) {
			reached = "/"
		}
		rest = strings.TrimPrefix(strings.TrimSuffix(target+"/"+rest, "/"), "/")
	}
	return reached, nil
}

// link returns where a symbolic link leads, or "" if path is none. The link
// must belong to root or to us.
func link(path string) (string, error) {
	var info unix.Stat_t
	if err := unix.Lstat(path, &info); err != nil {
		return "", err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	if !ours(info.Uid) {
		return "", fmt.Errorf("goes through %s, a link that belongs to user %d", path, info.Uid)
	}
	target, err := os.Readlink(path)
	if err != nil {
		return "", withoutPath(err)
	}
	return target, nil
}

// unchangeable checks that only root and we can change what is in a
// directory. In a sticky one, such as /tmp, others cannot change what is ours,
// and all on the way is.
func unchangeable(dir string) error {
	var info unix.Stat_t
	if err := unix.Lstat(dir, &info); err != nil {
		return err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	if !ours(info.Uid) {
		return fmt.Errorf("goes through %s, which belongs to user %d", dir, info.Uid)
	}
	if info.Mode&0o022 != 0 && info.Mode&unix.S_ISVTX == 0 {
		return fmt.Errorf("goes through %s, which others can write", dir)
	}
	return nil
}

// ours reports whether what belongs to a user can be trusted.
func ours(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// withoutPath drops the path that package os puts into an error: Open adds
// the one that was asked for.
func withoutPath(err error) error {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}
