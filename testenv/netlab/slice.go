// Package netlab makes network namespaces, links and cgroups for tests and
// labs, with documentation addresses only.
//
// Programs at the root of cgroup v2 see every process of a machine, and so one
// test's protected destination is every other test's too. Therefore each lab
// takes a slice of the documentation ranges (RFC 5737, RFC 3849) that no other
// lab on this machine has. Namespaces have no name and vanish with the process
// that made them.
package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lockDir holds one file for each slice; a slice is taken while its file is
// locked.
const lockDir = "/run/sluice-netlab"

// sliceBits is the length of a slice's IPv4 prefix: 16 addresses.
const sliceBits = 28

const slicesPerRange = 1 << (sliceBits - 24)

const firstPort = 15400

var ranges = [...]netip.Addr{
	netip.AddrFrom4([4]byte{192, 0, 2, 0}),
	netip.AddrFrom4([4]byte{198, 51, 100, 0}),
	netip.AddrFrom4([4]byte{203, 0, 113, 0}),
}

// Slice is a piece of the documentation ranges that nobody else on this machine
// uses until it is released or its process ends.
type Slice struct {
	V4 netip.Prefix // a /28
	V6 netip.Prefix // a /64 below 2001:db8::/32
	// Port is for listeners that exist in every network namespace. It is below
	// the range from which the kernel picks.
	Port uint16

	lock *os.File
}

// ErrNoSlice means that all slices are taken.
var ErrNoSlice = errors.New("all slices of the documentation ranges are taken")

// Take returns the free slice that was used longest ago, since sockets of the
// last user may still be dying. It leaves out what this machine routes already:
// virtual machines like to live in a documentation range themselves.
func Take() (*Slice, error) {
	if err := os.MkdirAll(lockDir, 0o755); err != nil {
		return nil, fmt.Errorf("take slice: %w", err)
	}
	for _, n := range longestUnused() {
		slice, err := tryTake(n)
		if err != nil {
			return nil, fmt.Errorf("take slice: %w", err)
		}
		if slice != nil {
			return slice, nil
		}
	}
	return nil, ErrNoSlice
}

func longestUnused() []int {
	var order []int
	var used []time.Time
	for n := range len(ranges) * slicesPerRange {
		order = append(order, n)
		var at time.Time // never used
		if file, err := os.Stat(lockPath(n)); err == nil {
			at = file.ModTime()
		}
		used = append(used, at)
	}
	slices.SortStableFunc(order, func(a, b int) int { return used[a].Compare(used[b]) })
	return order
}

func lockPath(n int) string { return filepath.Join(lockDir, fmt.Sprintf("slice-%02d", n)) }

// tryTake returns nil when the n-th slice is taken or routed.
func tryTake(n int) (*Slice, error) {
	lock, err := os.OpenFile(lockPath(n), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil, lock.Close()
	}
	slice := newSlice(n, lock)
	routed, err := isRouted(slice.V4)
	if err != nil || routed {
		return nil, errors.Join(err, lock.Close())
	}
	if err := os.Chtimes(lock.Name(), time.Time{}, time.Now()); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return slice, nil
}

func isRouted(slice netip.Prefix) (bool, error) {
	routes, err := netlink.RouteList(nil, unix.AF_INET)
	if err != nil {
		return false, fmt.Errorf("list routes: %w", err)
	}
	for _, route := range routes {
		if route.Dst == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(route.Dst.IP.To4())
		bits, _ := route.Dst.Mask.Size()
		if ok && bits > 0 && netip.PrefixFrom(addr, bits).Overlaps(slice) {
			return true, nil
		}
	}
	return false, nil
}

func newSlice(n int, lock *os.File) *Slice {
	v4 := ranges[n/slicesPerRange].As4()
	v4[3] = byte(n % slicesPerRange << (32 - sliceBits))
	v6 := [16]byte{0x20, 0x01, 0x0d, 0xb8, 7: byte(n)}
	return &Slice{
		V4:   netip.PrefixFrom(netip.AddrFrom4(v4), sliceBits),
		V6:   netip.PrefixFrom(netip.AddrFrom16(v6), 64),
		Port: firstPort + uint16(n),
		lock: lock,
	}
}

// Lock is the file whose lock keeps the slice. A process that inherits it keeps
// the slice after the one that took it has ended.
func (s *Slice) Lock() *os.File { return s.lock }

// Release lets others have the slice.
func (s *Slice) Release() error { return s.lock.Close() }

// Host4 returns the slice's n-th IPv4 address, n from 1 to 14.
func (s *Slice) Host4(n int) netip.Addr {
	a := s.V4.Addr().As4()
	a[3] += byte(n)
	return netip.AddrFrom4(a)
}

// Host6 returns the slice's n-th IPv6 address, n from 1 to 255.
func (s *Slice) Host6(n int) netip.Addr {
	a := s.V6.Addr().As16()
	a[15] = byte(n)
	return netip.AddrFrom16(a)
}
