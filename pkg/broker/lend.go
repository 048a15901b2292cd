package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

const (
	// lentAtOnce bounds the descriptors that are open twice on their way.
	lentAtOnce = 64
	// giveBackWait is how long a proxy may hold a listener that was ended or is
	// another's.
	giveBackWait = 2 * time.Second
)

// loan is one listener on its way to a proxy.
type loan struct {
	cookie uint64 // of its namespace
	inode  uint64 // tells it from all others, also from a later one of that namespace
	fd     int    // of its own
}

// lendAll lets the proxy accept by itself: it gets every listener, now and as
// they come, so that a connection wakes no process but the one that serves it.
// It returns with ctx; the proxy is condemned when it cannot be told, or keeps
// what it has to give back, which would keep dead namespaces alive.
func (p *proxy) lendAll(ctx context.Context) {
	if err := p.lendEach(ctx); err != nil {
		p.fail(fmt.Errorf("lend listeners: %w", err))
	}
}

func (p *proxy) lendEach(ctx context.Context) error {
	out, due := make(map[uint64]bool), make(map[uint64]time.Time) // by inode
	tick := time.NewTicker(giveBackWait)
	defer tick.Stop()
	for {
		if err := p.lendNew(out, due); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.Redirect.Changed():
		case <-tick.C:
			if err := p.hasGivenBack(due); err != nil {
				return err
			}
		}
	}
}

// lendNew lends what is new, and notes until when what is gone is to be given
// back. A proxy that has retired gives everything back.
func (p *proxy) lendNew(out map[uint64]bool, due map[uint64]time.Time) error {
	gone := maps.Clone(out)
	for fresh := lentAtOnce; fresh == lentAtOnce && !p.isRetired(); {
		loans, err := p.loans(out, gone)
		for _, l := range loans {
			out[l.inode] = true
			p.link.impatient()
			err = errors.Join(err, p.link.send(kindListener, 0, pack(nil, l.cookie), l.fd), unix.Close(l.fd))
		}
		if err != nil {
			return err
		}
		fresh = len(loans)
	}
	for inode := range gone {
		delete(out, inode)
		due[inode] = time.Now().Add(giveBackWait)
	}
	return nil
}

// loans returns listeners that are not out, and takes those that are still there
// from gone.
func (p *proxy) loans(out, gone map[uint64]bool) (fresh []loan, err error) {
	err = p.Redirect.EachListening(func(l redirect.Listening) error {
		for _, fd := range l.Descriptors[1:] { // the first is the namespace
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				return os.NewSyscallError("fstat", err)
			}
			delete(gone, st.Ino)
			if out[st.Ino] || len(fresh) == lentAtOnce {
				continue
			}
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return os.NewSyscallError("fcntl", err)
			}
			fresh = append(fresh, loan{cookie: l.Cookie, inode: st.Ino, fd: own})
		}
		return nil
	})
	return fresh, err
}

// hasGivenBack looks for sockets that the proxy should not have any more.
func (p *proxy) hasGivenBack(due map[uint64]time.Time) error {
	if len(due) == 0 {
		return nil
	}
	held, err := socketsOf(p.cmd.Process.Pid)
	if err != nil {
		return nil // it has ended, which others notice
	}
	for inode, at := range due {
		if !held[inode] {
			delete(due, inode)
		} else if time.Now().After(at) {
			return errors.New("it keeps a listener that it has to give back")
		}
	}
	return nil
}

// socketsOf are the inodes of a process's sockets.
func socketsOf(pid int) (map[uint64]bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	held := make(map[uint64]bool, len(names))
	for _, name := range names {
		var inode uint64
		what, err := os.Readlink(dir + "/" + name.Name())
		if err != nil {
			continue // it is closed by now
		}
		if _, err := fmt.Sscanf(what, "socket:[%d]", &inode); err == nil {
			held[inode] = true
		}
	}
	return held, nil
}
