package redirect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// ErrPause is the cause for which a context that ends lets Run leave
// everything as it is: listeners stay open, and connections wait in them.
var ErrPause = errors.New("pause for a successor")

// Listening is one network namespace that the agent listens in, on its way to
// another process.
type Listening struct {
	Cookie      uint64
	State       uint32
	Owner       string
	Descriptors []int // the namespace, then its listeners
}

// Pins returns the directory of the pins. Who holds it open holds its lock.
func (r *Redirect) Pins() *os.File { return r.pins }

// Beat tells the programs that the agent lives, while Run is paused and a
// successor begins: for as long connections to protected destinations wait.
func (r *Redirect) Beat() error { return r.beat(monotonic()) }

// EachListening calls f with every namespace that the agent listens in. The
// descriptors are good for the call only.
func (r *Redirect) EachListening(f func(Listening) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range r.enrolled {
		l := Listening{Cookie: ns.cookie, State: uint32(ns.state), Owner: ns.owner, Descriptors: []int{int(ns.file.Fd())}}
		if err := l.each(ns.listeners, f); err != nil {
			return err
		}
	}
	return nil
}

// each adds the descriptors of listeners, which are lent and not duplicated: a
// duplicate would turn them into sockets that block.
func (l Listening) each(listeners []*listener, f func(Listening) error) error {
	if len(listeners) == 0 {
		return f(l)
	}
	raw, err := listeners[0].SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error {
		l.Descriptors = append(l.Descriptors, fd)
		return l.each(listeners[1:], f)
	})
}

// Prepare loads the programs for an agent that takes over from another, which
// goes on meanwhile. pins is a descriptor of the other's, with its lock, and
// belongs to the Redirect. Nothing is in force before TakeOver.
func Prepare(cfg Config, pins int, log *zap.Logger) (*Redirect, error) {
	locked := os.NewFile(uintptr(pins), cfg.Pins)
	root, err := openCgroupRoot(cfg.Cgroup)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare redirect: %w", err), locked.Close())
	}
	r := newRedirect(cfg, root, locked, log)
	if err := errors.Join(r.prepare(cfg), root.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare redirect: %w", err), r.LetGo())
	}
	return r, nil
}

func (r *Redirect) prepare(cfg Config) error {
	if err := checkExempt(cfg.Exempt); err != nil {
		return err
	}
	if theirs, err := inodeOf(r.pins); err != nil {
		return err
	} else if ours, err := inodeAt(cfg.Pins); err != nil || ours != theirs {
		return errors.Join(errors.New("the pins are elsewhere now: that takes a restart"), err)
	}
	if err := loadObjects(cfg.Pins, &r.objects, true); err != nil {
		return err
	}
	r.loadTracing()
	if err := r.readRecords(); err != nil {
		return err
	}
	var now redirectControl
	if err := r.objects.AgentControl.Lookup(uint32(0), &now); err != nil {
		return fmt.Errorf("read heartbeat: %w", err)
	}
	if now.ListenerPort != networkOrder(cfg.Port) {
		return errors.New("the listeners' port is another one now: that takes a restart")
	}
	return nil
}

// TakeOver puts the programs in force in place of the other's, and takes its
// listeners, descriptors included. The other's Run must be paused.
func (r *Redirect) TakeOver(all []Listening) error {
	for i, l := range all {
		if err := r.adopt(l); err != nil {
			for _, rest := range all[i+1:] {
				closeDescriptors(rest.Descriptors)
			}
			return fmt.Errorf("take over listeners: %w", err)
		}
	}
	if err := r.findExempt(); err != nil {
		return err
	}
	return r.TakeBack()
}

// adopt takes one namespace over.
func (r *Redirect) adopt(l Listening) error {
	if len(l.Descriptors) == 0 {
		return errors.New("no namespace")
	}
	file := os.NewFile(uintptr(l.Descriptors[0]), "netns")
	id, err := inodeOf(file)
	ns := &namespace{
		cookie: l.Cookie, inode: id, owner: l.Owner, file: file, left: make(chan struct{}), state: redirectNetnsState(l.State),
	}
	for _, fd := range l.Descriptors[1:] {
		err = errors.Join(err, r.flag(fd, redirectAgentRoleAGENT_LISTENS), resetsByDefault(fd))
		listener, listenErr := listenerOf(fd)
		err = errors.Join(err, listenErr)
		if listenErr == nil {
			ns.listeners = append(ns.listeners, listener)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enrolled[ns.cookie] = ns
	r.owned[ns.owner]++
	return err
}

func listenerOf(fd int) (*listener, error) {
	file := os.NewFile(uintptr(fd), "listener")
	defer func() { _ = file.Close() }() // the listener has its own descriptor
	l, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(errors.New("not a TCP listener"), l.Close())
	}
	return &listener{TCPListener: tcp}, nil
}

func closeDescriptors(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // nobody else knows of it
	}
}

// TakeBack puts this agent's programs in force, also after a successor that
// failed. Run may be called then.
func (r *Redirect) TakeBack() error {
	root, err := openCgroupRoot(r.cgroups)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, l := range r.links {
		_ = l.Close() // the pin holds it
	}
	return r.attach(root)
}

// LetGo is Close for who has a successor: everything stays in force, and
// connections wait in listeners that the other has. Run must be paused. Socket
// and Counters still work: what is open may need them. The process's end closes
// what they use.
func (r *Redirect) LetGo() error {
	var errs []error
	r.close.Do(func() {
		close(r.done)
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, ns := range r.enrolled {
			errs = append(errs, ns.closeListeners(), ns.file.Close())
		}
		clear(r.enrolled)
		for _, l := range r.links {
			errs = append(errs, l.Close())
		}
		if r.tracing != nil {
			r.tracing.letGo()
		}
		errs = append(errs, r.pins.Close())
	})
	return errors.Join(errs...)
}

// pauses reports whether a context ended for a successor.
func pauses(ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrPause) }
