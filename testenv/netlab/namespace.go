package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace without a name. It lives until it is closed
// and no process and no socket is left in it.
type Namespace struct {
	file *os.File
}

// NewNamespace makes a network namespace with its loopback up.
func NewNamespace() (*Namespace, error) {
	ns, err := Bare()
	if err != nil {
		return nil, err
	}
	if err := ns.Do(loopbackUp); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// Bare makes a network namespace as the kernel does, its loopback down.
func Bare() (*Namespace, error) {
	var ns Namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		ns.file = file
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ns, nil
}

// Own returns the namespace of this process.
func Own() (*Namespace, error) { return Of(os.Getpid()) }

// Of returns the namespace that a process is in now.
func Of(pid int) (*Namespace, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("open network namespace of process: %w", err)
	}
	return &Namespace{file: file}, nil
}

// Named returns the namespace that ip-netns(8) knows by a name.
func Named(name string) (*Namespace, error) {
	file, err := os.Open(filepath.Join("/run/netns", name))
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return &Namespace{file: file}, nil
}

// Close lets go of the namespace.
func (ns *Namespace) Close() error { return ns.file.Close() }

// Do runs f on a thread that is in the namespace. What f starts on other
// goroutines is not; a socket that f makes stays in the namespace for good.
func (ns *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// Start starts a command in the namespace.
func (ns *Namespace) Start(cmd *exec.Cmd) error { return ns.Do(cmd.Start) }

// onThread runs f on a locked thread and brings the thread home afterwards; if
// that is impossible the thread dies.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		err = f()
		back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET)
		if back == nil {
			runtime.UnlockOSThread()
		}
		done <- errors.Join(err, back, home.Close())
	}()
	return <-done
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	return nil
}

// Connect joins two namespaces by a veth pair with the same name at both ends,
// and gives each end its addresses, on-link.
func Connect(a, b *Namespace, name string, addrsA, addrsB []netip.Prefix) error {
	err := a.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: name},
			PeerName:      name,
			PeerNamespace: netlink.NsFd(b.file.Fd()),
		})
	})
	if err != nil {
		return fmt.Errorf("make veth pair: %w", err)
	}
	if err := a.Do(func() error { return setUp(name, addrsA) }); err != nil {
		return err
	}
	return b.Do(func() error { return setUp(name, addrsB) })
}

func setUp(name string, addrs []netip.Prefix) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, prefix := range addrs {
		addr, err := netlink.ParseAddr(prefix.String())
		if err != nil {
			return fmt.Errorf("give %s an address: %w", name, err)
		}
		addr.Flags = unix.IFA_F_NODAD // a test cannot wait for duplicate detection
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("give %s the address %s: %w", name, prefix, err)
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// Route sends packets for dst to a neighbour.
func (ns *Namespace) Route(dst netip.Prefix, via netip.Addr) error {
	route := &netlink.Route{
		Dst: &net.IPNet{IP: dst.Addr().AsSlice(), Mask: net.CIDRMask(dst.Bits(), dst.Addr().BitLen())},
		Gw:  via.AsSlice(),
	}
	if err := ns.Do(func() error { return netlink.RouteAdd(route) }); err != nil {
		return fmt.Errorf("route %s via %s: %w", dst, via, err)
	}
	return nil
}

// Unlink removes a link; the other end of a veth pair goes with it.
func (ns *Namespace) Unlink(name string) error {
	return ns.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		return netlink.LinkDel(l)
	})
}

// Bridge makes a bridge of links that the namespace has.
func (ns *Namespace) Bridge(name string, ports ...string) error {
	return ns.Do(func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("make bridge %s: %w", name, err)
		}
		for _, port := range ports {
			l, err := netlink.LinkByName(port)
			if err != nil {
				return fmt.Errorf("find %s: %w", port, err)
			}
			if err := netlink.LinkSetMaster(l, bridge); err != nil {
				return fmt.Errorf("put %s into bridge %s: %w", port, name, err)
			}
		}
		return setUp(name, nil)
	})
}
