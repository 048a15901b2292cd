package redirect

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Records reads the records of accepted connections by their descriptors. It
// takes no privilege, only a descriptor of the map, which can be for reading
// only, and one command of bpf(2). Kernels before 5.19 allow that to nobody
// without privilege while kernel.unprivileged_bpf_disabled is set.
type Records struct {
	file   *os.File
	booted time.Time
}

// OpenRecords returns what NewRecords takes in another process. It is for
// reading only, and the caller's to close.
func (r *Redirect) OpenRecords() (*os.File, error) {
	name := filepath.Join(r.pins.Name(), mapPins, redirectMapAccepted)
	m, err := ebpf.LoadPinnedMap(name, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	defer func() { _ = m.Close() }() // the file has its own descriptor
	fd, err := unix.FcntlInt(uintptr(m.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "records"), nil
}

// readRecords lets this process read them.
func (r *Redirect) readRecords() error {
	file, err := r.OpenRecords()
	if err == nil {
		r.records = NewRecords(file, r.booted)
	}
	return err
}

// NewRecords reads the records of a file that OpenRecords returned. booted is
// when CLOCK_BOOTTIME was zero, by this process's clock.
func NewRecords(file *os.File, booted time.Time) *Records {
	return &Records{file: file, booted: booted}
}

// Readable reports whether this process may read records on this kernel.
func (r *Records) Readable() bool {
	_, err := r.lookup(-1)
	return errors.Is(err, unix.EBADF) // the kernel went as far as to look at the descriptor
}

// Close closes the file.
func (r *Records) Close() error { return r.file.Close() }

// Of returns what the kernel recorded of a connection that a listener in the
// namespace with this cookie accepted. Unserved says what an error means.
func (r *Records) Of(conn *net.TCPConn, cookie uint64) (Origin, error) {
	var found redirectOrigin
	raw, err := conn.SyscallConn()
	if err != nil {
		return Origin{}, fmt.Errorf("read record: %w", err)
	}
	err = control(raw, func(fd int) error {
		found, err = r.lookup(fd)
		return err
	})
	if errors.Is(err, unix.ENOENT) {
		return Origin{}, errNoRecord
	}
	if err != nil {
		return Origin{}, fmt.Errorf("read record: %w", err)
	}
	origin := Origin{
		Destination: netip.AddrPortFrom(address(found.Destination.Word), networkOrder(found.Port)),
		CgroupID:    found.CgroupId,
		NetnsCookie: found.NetnsCookie,
		PID:         found.Pid,
		UID:         found.Uid,
		Started:     r.booted.Add(time.Duration(found.ProcessStartNs)),
	}
	if origin.NetnsCookie != cookie {
		return origin, errWrongNamespace
	}
	return origin, nil
}

// lookup is BPF_MAP_LOOKUP_ELEM, as union bpf_attr in linux/bpf.h has it. The
// library has more to ask of a map before it looks anything up.
func (r *Records) lookup(fd int) (found redirectOrigin, err error) {
	key := int32(fd)
	attr := struct {
		mapFD uint32
		_     uint32
		key   unsafe.Pointer
		value unsafe.Pointer
		flags uint64
	}{mapFD: uint32(r.file.Fd()), key: unsafe.Pointer(&key), value: unsafe.Pointer(&found)}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_LOOKUP_ELEM, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(r)
	if errno != 0 {
		return redirectOrigin{}, errno
	}
	return found, nil
}

// Unserved is the alert about a connection for whose record Of gave this error,
// beside this origin.
func Unserved(err error, origin Origin, cookie uint64) Alert {
	kind := AlertNoRecord
	if errors.Is(err, errWrongNamespace) {
		kind = AlertWrongNamespace
	}
	return Alert{
		Kind: kind, Destination: origin.Destination, CgroupID: origin.CgroupID,
		NetnsCookie: cookie, Count: 1, Detail: err.Error(),
	}
}
