package redirect

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// followers is how many new cgroups are followed at once. One more is left
	// to the held SYN, which needs no warning.
	followers = 64
	// A container runtime makes the cgroup some 100 ms before the container's
	// first instruction, and moves a process in whose network namespace may
	// still be the host's. So a new cgroup is looked at often, then less often.
	lookOften    = 5 * time.Millisecond
	lookOftenFor = time.Second
	lookSeldom   = 100 * time.Millisecond
	followFor    = 5 * time.Second
)

// watch enrols the namespaces of new cgroups before anybody connects from
// there, so that few SYNs have to be held. It is only ever early: whatever it
// misses is enrolled when it connects.
type watch struct {
	redirect *Redirect
	own      inode    // namespace of the agent: enrolled from the start
	events   *os.File // inotify
	paths    map[int32]string
	slots    chan struct{}
	follow   sync.WaitGroup
}

func (r *Redirect) newWatch() (*watch, error) {
	root, err := r.watchedRoot()
	if err != nil {
		return nil, fmt.Errorf("watch cgroups: %w", err)
	}
	own, err := inodeAt("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("watch cgroups: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch cgroups: %w", err)
	}
	w := &watch{
		redirect: r, own: own, events: os.NewFile(uintptr(fd), "inotify"),
		paths: make(map[int32]string), slots: make(chan struct{}, followers),
	}
	if err := w.addTree(root); err != nil {
		return nil, errors.Join(err, w.events.Close())
	}
	return w, nil
}

// addTree watches a cgroup and all below it.
func (w *watch) addTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we looked
		}
		if err != nil {
			return fmt.Errorf("watch cgroups: %w", err)
		}
		if !entry.IsDir() {
			return nil
		}
		return w.add(path)
	})
}

func (w *watch) add(path string) error {
	raw, err := w.events.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch cgroup %s: %w", path, err)
	}
	var id int
	err = control(raw, func(fd int) (err error) {
		id, err = unix.InotifyAddWatch(fd, path, unix.IN_CREATE|unix.IN_ONLYDIR)
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch cgroup %s: %w", path, err)
	}
	w.paths[int32(id)] = path
	return nil
}

// run ends when ctx does.
func (w *watch) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = w.events.Close() }) // ends the read below
	defer stop()
	defer w.follow.Wait()
	buffer := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := w.events.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return errors.Join(fmt.Errorf("watch cgroups: %w", err), w.events.Close())
		}
		w.made(ctx, buffer[:n])
	}
}

// made handles a batch of events. What it misses, a held SYN will tell.
func (w *watch) made(ctx context.Context, events []byte) {
	for len(events) >= unix.SizeofInotifyEvent {
		var event unix.InotifyEvent
		if _, err := binary.Decode(events, binary.NativeEndian, &event); err != nil {
			return
		}
		end := unix.SizeofInotifyEvent + int(event.Len)
		if len(events) < end {
			return
		}
		name := string(bytes.TrimRight(events[unix.SizeofInotifyEvent:end], "\x00"))
		events = events[end:]
		parent, known := w.paths[event.Wd]
		switch {
		case event.Mask&unix.IN_IGNORED != 0: // the cgroup is gone
			delete(w.paths, event.Wd)
		case known && event.Mask&unix.IN_ISDIR != 0:
			w.begin(ctx, filepath.Join(parent, name))
		}
	}
}

// begin follows a new cgroup and watches for others in it.
func (w *watch) begin(ctx context.Context, cgroup string) {
	if err := w.addTree(cgroup); err != nil {
		w.redirect.log.Warn("new cgroups are not enrolled early", zap.Error(err))
	}
	select {
	case w.slots <- struct{}{}:
	default:
		return
	}
	w.follow.Go(func() {
		defer func() { <-w.slots }()
		w.look(ctx, cgroup)
	})
}

// look waits for a process with a network namespace of its own.
func (w *watch) look(ctx context.Context, cgroup string) {
	began := time.Now()
	for ctx.Err() == nil && time.Since(began) < followFor {
		if w.enrolFrom(cgroup) {
			return
		}
		pause := lookSeldom
		if time.Since(began) < lookOftenFor {
			pause = lookOften
		}
		if !w.redirect.sleep(pause) {
			return
		}
	}
}

// enrolFrom returns true when there is nothing left to wait for.
func (w *watch) enrolFrom(cgroup string) bool {
	pids, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
	if err != nil {
		return true // the cgroup is gone, or will never tell
	}
	for _, pid := range strings.Fields(string(pids)) {
		process := filepath.Join("/proc", pid)
		id, err := inodeAt(filepath.Join(process, "ns/net"))
		if err != nil || id == w.own {
			continue
		}
		if w.redirect.listensIn(id) || w.redirect.enrolOf(process, 0) == nil {
			return true
		}
	}
	return false
}
