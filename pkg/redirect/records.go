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

	"github.com/sluicegate/sluice/pkg/workload"
)

// Records reads the records of accepted connections by their descriptors. It
// takes no privilege, only a descriptor of the map, which can be for reading
// only, and one command of bpf(2). Kernels before 5.19 allow that to nobody
// without privilege while kernel.unprivileged_bpf_disabled is set.
type Records struct {
	files  RecordFiles
	booted time.Time
}

// RecordFiles are what records are read of. They are for reading only.
type RecordFiles struct{ Origins, Lineages *os.File }

// Close closes both.
func (f RecordFiles) Close() error { return errors.Join(f.Origins.Close(), f.Lineages.Close()) }

// OpenRecords returns what NewRecords takes in another process. It is the
// caller's to close.
func (r *Redirect) OpenRecords() (RecordFiles, error) {
	origins, err := r.openMap(redirectMapAccepted)
	if err != nil {
		return RecordFiles{}, err
	}
	lineages, err := r.openMap(redirectMapAcceptedLineages)
	if err != nil {
		return RecordFiles{}, errors.Join(err, origins.Close())
	}
	return RecordFiles{Origins: origins, Lineages: lineages}, nil
}

func (r *Redirect) openMap(name string) (*os.File, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(r.pins.Name(), mapPins, name), &ebpf.LoadPinOptions{ReadOnly: true})
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
	files, err := r.OpenRecords()
	if err == nil {
		r.records = NewRecords(files, r.booted)
	}
	return err
}

// NewRecords reads the records of files that OpenRecords returned. booted is
// when CLOCK_BOOTTIME was zero, by this process's clock.
func NewRecords(files RecordFiles, booted time.Time) *Records {
	return &Records{files: files, booted: booted}
}

// Readable reports whether this process may read records on this kernel.
func (r *Records) Readable() bool {
	var found redirectOrigin
	err := lookup(r.files.Origins, -1, unsafe.Pointer(&found))
	return errors.Is(err, unix.EBADF) // the kernel went as far as to look at the descriptor
}

// Close closes the files.
func (r *Records) Close() error { return r.files.Close() }

// Of returns what the kernel recorded of a connection that a listener in the
// namespace with this cookie accepted. Unserved says what an error means.
func (r *Records) Of(conn *net.TCPConn, cookie uint64) (Origin, error) {
	var found redirectOrigin
	var lineage *workload.Lineage
	raw, err := conn.SyscallConn()
	if err != nil {
		return Origin{}, fmt.Errorf("read record: %w", err)
	}
	err = control(raw, func(fd int) error {
		lineage, err = r.read(fd, &found)
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
		Lineage:     lineage,
	}
	if origin.NetnsCookie != cookie {
		return origin, errWrongNamespace
	}
	return origin, nil
}

// read reads what stands on an accepted socket. A lineage comes with its record,
// or not at all.
func (r *Records) read(fd int, origin *redirectOrigin) (*workload.Lineage, error) {
	var raw lineageLineage
	if err := lookup(r.files.Origins, fd, unsafe.Pointer(origin)); err != nil {
		return nil, err
	}
	err := lookup(r.files.Lineages, fd, unsafe.Pointer(&raw))
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return raw.lineage(), err
}

// lookup is BPF_MAP_LOOKUP_ELEM, as union bpf_attr in linux/bpf.h has it. The
// library has more to ask of a map before it looks anything up.
func lookup(in *os.File, fd int, value unsafe.Pointer) error {
	key := int32(fd)
	attr := struct {
		mapFD uint32
		_     uint32
		key   unsafe.Pointer
		value unsafe.Pointer
		flags uint64
	}{mapFD: uint32(in.Fd()), key: unsafe.Pointer(&key), value: value}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_LOOKUP_ELEM, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(in)
	if errno != 0 {
		return errno
	}
	return nil
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
