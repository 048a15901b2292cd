package redirect_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/io_uring.h has.
const (
	uringOpConnect  = 16
	uringAsync      = 1 << 4 // IOSQE_ASYNC: a worker of the kernel does it
	uringGetEvents  = 1
	uringOffSQ      = 0
	uringOffSQEs    = 0x10000000
	uringSQEntry    = 64
	uringParamsSize = 120
	uringSQOffsets  = 40 // of struct io_sqring_offsets in the parameters
	uringCQOffsets  = 80
)

// connectByWorker connects with io_uring, on a worker of the kernel.
func connectByWorker(to netip.AddrPort) error {
	var params [uringParamsSize]byte
	r, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return os.NewSyscallError("io_uring_setup", errno)
	}
	ring := int(r)
	defer func() { _ = unix.Close(ring) }()
	word := func(in []byte, at int) uint32 { return binary.NativeEndian.Uint32(in[at:]) }
	put := func(in []byte, at, value uint32) { binary.NativeEndian.PutUint32(in[at:], value) }
	cqes, array := word(params[:], uringCQOffsets+20), word(params[:], uringSQOffsets+24)
	size := int(max(cqes+16*word(params[:], 4), array+4*word(params[:], 0)))
	queue, err := unix.Mmap(ring, uringOffSQ, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer func() { _ = unix.Munmap(queue) }()
	entries, err := unix.Mmap(ring, uringOffSQEs, 4*uringSQEntry, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer func() { _ = unix.Munmap(entries) }()

	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	peer := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: htons(to.Port()), Addr: to.Addr().As4()}
	entries[0], entries[1] = uringOpConnect, uringAsync
	put(entries, 4, uint32(fd))
	binary.NativeEndian.PutUint64(entries[8:], uint64(unsafe.Sizeof(peer))) // off: the address's length
	binary.NativeEndian.PutUint64(entries[16:], uint64(uintptr(unsafe.Pointer(&peer))))
	put(queue, array, 0)                             // the first entry
	put(queue, word(params[:], uringSQOffsets+4), 1) // tail
	_, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(ring), 1, 1, uringGetEvents, 0, 0)
	runtime.KeepAlive(&peer)
	if errno != 0 {
		return os.NewSyscallError("io_uring_enter", errno)
	}
	result := int32(word(queue, int(cqes)+8))
	if result < 0 {
		return errors.Join(errors.New("connect on a worker"), unix.Errno(-result))
	}
	return nil
}
