package redirect

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// openConnection is a TCP connection as /proc lists it.
type openConnection struct {
	client, destination netip.AddrPort
	socket              uint64 // its inode; 0 when no process has it any more
}

// found says how many connections of one cgroup to one destination there are.
type found struct {
	destination netip.AddrPort
	cgroup      uint64
}

// settleOpen deals with the connections that were there before anything was
// protected: it lets them end, or ends them. It runs once they can no longer be
// opened. Those that it misses, since no process has them in hand, fall
// silent: the programs drop their packets.
func (r *Redirect) settleOpen(ds []Destination) {
	open, err := openConnections(ds)
	if err != nil {
		r.log.Warn("Open connections could not be listed, and fall silent", zap.Error(err))
		return
	}
	if len(open) == 0 {
		return
	}
	counts := make(map[found]uint64)
	eachSocket(func(pid int, fd int, socket uint64) {
		connection, ok := open[socket]
		if !ok {
			return
		}
		delete(open, socket) // another process may have it too
		if err := r.settle(pid, fd, connection); err != nil {
			r.log.Warn("An open connection falls silent", zap.Int("pid", pid), zap.Error(err))
			return
		}
		counts[found{connection.destination, r.cgroupOf(pid)}]++
	})
	done := "left to end"
	if r.destroyOpen {
		done = "ended"
	}
	for which, n := range counts {
		r.raise(Alert{
			Kind: AlertOpenConnection, Destination: which.destination, CgroupID: which.cgroup, Count: n,
			Detail: done,
		})
	}
	for _, connection := range open {
		r.raise(Alert{Kind: AlertOpenConnection, Destination: connection.destination, Count: 1, Detail: "no process has it: cut off"})
	}
}

// settle lets one socket of a process through, and ends it if it must end.
func (r *Redirect) settle(pid, fd int, connection openConnection) error {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process: %w", err)
	}
	defer func() { _ = unix.Close(process) }()
	socket, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return fmt.Errorf("take socket: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	if err := r.objects.ExemptSockets.Put(int32(socket), uint8(1)); err != nil {
		return fmt.Errorf("let socket through: %w", err)
	}
	if err := r.objects.OpenConnections.Put(connection.key(), uint8(1)); err != nil {
		return fmt.Errorf("let packets through: %w", err)
	}
	if !r.destroyOpen {
		return nil
	}
	return disconnect(socket)
}

func (c openConnection) key() (key redirectOpenConnection) {
	key.Client.Word, key.Destination.Word = words(c.client.Addr()), words(c.destination.Addr())
	key.ClientPort, key.Port = networkOrder(c.client.Port()), networkOrder(c.destination.Port())
	return key
}

// disconnect resets a connection at both ends, whoever else has the socket.
func disconnect(socket int) error {
	unspecified := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	var errno unix.Errno
	// A reader keeps some kernels from disconnecting; shut down, it goes.
	for range 2 {
		_, _, errno = unix.Syscall(unix.SYS_CONNECT, uintptr(socket),
			uintptr(unsafe.Pointer(&unspecified)), unsafe.Sizeof(unspecified))
		if errno == 0 {
			return nil
		}
		_ = unix.Shutdown(socket, unix.SHUT_RDWR)
	}
	return fmt.Errorf("disconnect: %w", errno)
}

// openConnections lists those to ds in every network namespace that a process
// is in, by the inode of their socket.
func openConnections(ds []Destination) (map[uint64]openConnection, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	open := make(map[uint64]openConnection)
	seen := make(map[inode]bool)
	var orphans uint64
	for _, process := range processes {
		id, err := inodeAt(filepath.Join(process, "ns/net"))
		if err != nil || seen[id] {
			continue // the process is gone, or shares its namespace
		}
		seen[id] = true
		for _, table := range []string{"net/tcp", "net/tcp6"} {
			for _, c := range readTable(filepath.Join(process, table)) {
				if !isProtected(ds, c.destination) {
					continue
				}
				if c.socket == 0 {
					orphans--
					c.socket = orphans // no inode is as large
				}
				open[c.socket] = c
			}
		}
	}
	return open, nil
}

func isProtected(ds []Destination, a netip.AddrPort) bool {
	for _, d := range ds {
		if d.Port == a.Port() && d.Prefix.Contains(a.Addr()) {
			return true
		}
	}
	return false
}

// Those of include/net/tcp_states.h that carry no data any more, or none yet.
var idleStates = map[string]bool{"06": true, "07": true, "0A": true, "0C": true}

// readTable reads /proc/net/tcp or tcp6. A table that cannot be read belongs to
// a process that is gone, or to a kernel without IPv6.
func readTable(path string) (connections []openConnection) {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		if len(field) < 10 || idleStates[field[3]] {
			continue
		}
		client, clientErr := parseEndpoint(field[1])
		destination, err := parseEndpoint(field[2])
		socket, socketErr := strconv.ParseUint(field[9], 10, 64)
		if errors.Join(clientErr, err, socketErr) != nil {
			continue // the heading
		}
		connections = append(connections, openConnection{client, destination, socket})
	}
	return connections
}

// parseEndpoint reads an address as /proc/net/tcp has it: words of the wire as
// this machine's numbers, in hexadecimal, and the port.
func parseEndpoint(text string) (netip.AddrPort, error) {
	digits, digitsOfPort, _ := strings.Cut(text, ":")
	var wire []byte
	for ; len(digits) >= 8; digits = digits[8:] {
		word, err := strconv.ParseUint(digits[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, err
		}
		wire = binary.NativeEndian.AppendUint32(wire, uint32(word))
	}
	addr, ok := netip.AddrFromSlice(wire)
	if !ok {
		return netip.AddrPort{}, errors.New("not an address")
	}
	port, err := strconv.ParseUint(digitsOfPort, 16, 16)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), err
}

// eachSocket calls f for every descriptor that is a socket, of every process.
func eachSocket(f func(pid, fd int, socket uint64)) {
	paths, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return // the pattern is right
	}
	for _, path := range paths {
		name, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(name, "socket:[") {
			continue
		}
		socket, err := strconv.ParseUint(strings.TrimSuffix(name[len("socket:["):], "]"), 10, 64)
		if err != nil {
			continue
		}
		part := strings.Split(path, "/") // "", proc, pid, fd, n
		pid, pidErr := strconv.Atoi(part[2])
		fd, fdErr := strconv.Atoi(part[4])
		if pidErr == nil && fdErr == nil {
			f(pid, fd, socket)
		}
	}
}

// cgroupOf returns the id of a process's cgroup, 0 when it is gone.
func (r *Redirect) cgroupOf(pid int) uint64 {
	path, err := cgroupPath(filepath.Join("/proc", strconv.Itoa(pid)))
	if err != nil {
		return 0
	}
	id, err := inodeAt(filepath.Join(r.cgroups, path))
	if err != nil || r.cgroups == "" {
		return 0
	}
	return id.ino
}
