package redirect_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func rawConnect(fd int, sa *unix.RawSockaddrInet4) error {
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(sa)), unsafe.Sizeof(*sa))
	if errno != 0 {
		return errno
	}
	return nil
}
