package redirect

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// socketIn makes a TCP socket in another network namespace. A socket belongs to
// the namespace that it was made in, so nothing else has to be done there.
func socketIn(ns *os.File, family int) (int, error) {
	type result struct {
		fd  int
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread()
		fd, home, err := socketAway(ns, family)
		if home {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine: it must not serve others
		made <- result{fd, err}
	}()
	r := <-made
	return r.fd, r.err
}

// socketAway does it on the calling thread. home says whether the thread is
// back in the namespace that it came from.
func socketAway(ns *os.File, family int) (fd int, home bool, err error) {
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return -1, true, fmt.Errorf("open own network namespace: %w", err)
	}
	defer func() { _ = back.Close() }()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return -1, true, fmt.Errorf("enter network namespace: %w", err)
	}
	fd, socketErr := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err := unix.Setns(int(back.Fd()), unix.CLONE_NEWNET); err != nil {
		if socketErr == nil {
			_ = unix.Close(fd)
		}
		return -1, false, fmt.Errorf("leave network namespace: %w", err)
	}
	if socketErr != nil {
		return -1, true, fmt.Errorf("make socket: %w", socketErr)
	}
	return fd, true, nil
}

// netnsCookie identifies the namespace of a socket. Unlike an inode it is never
// used again.
func netnsCookie(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("read cookie of network namespace: %w", err)
	}
	return cookie, nil
}

// cookieOf identifies a namespace through a socket made in it.
func cookieOf(ns *os.File) (uint64, error) {
	fd, err := socketIn(ns, unix.AF_INET)
	if err != nil {
		return 0, err
	}
	cookie, err := netnsCookie(fd)
	return cookie, errors.Join(err, unix.Close(fd))
}

// inode tells open namespaces apart. It names one only while that one is held
// open: a dead namespace's inode is taken again at once.
type inode struct{ dev, ino uint64 }

func inodeOf(ns *os.File) (inode, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &st); err != nil {
		return inode{}, fmt.Errorf("stat network namespace: %w", err)
	}
	return inode{dev: st.Dev, ino: st.Ino}, nil
}

func inodeAt(path string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return inode{}, err
	}
	return inode{dev: st.Dev, ino: st.Ino}, nil
}
