package confine_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/confine"
)

// The parser confines itself on the main thread.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if len(os.Args) != 4 || os.Args[1] != "parser" {
		os.Exit(m.Run())
	}
	if os.Args[2] == "work" { // in a directory that its user may not have a way to
		if err := os.Chdir(os.Args[3]); err != nil {
			say(err)
			os.Exit(1)
		}
	}
	if err := confine.Enter(confine.User{UID: nobody, GID: nobody}); err != nil {
		say(err)
		os.Exit(1)
	}
	// Not on the main thread: the filter is to hold on every one.
	tried := make(chan error)
	go func() { tried <- try(os.Args[2], os.Args[3]) }()
	err := <-tried
	switch {
	case os.Args[2] == "work" && err != nil:
		say(err)
		os.Exit(1)
	case err == nil:
		say("DONE")
	default:
		say("REFUSED", err)
	}
}

func say(words ...any) { _, _ = fmt.Fprintln(os.Stdout, words...) } // the test reads it

// raw makes a system call as hostile code would.
func raw(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

func try(attempt, arg string) error {
	pid, _ := strconv.Atoi(arg) // 0 where arg is something else
	switch attempt {
	case "load a program":
		return raw(unix.SYS_BPF, unix.BPF_PROG_LOAD)
	case "make a map":
		return raw(unix.SYS_BPF, unix.BPF_MAP_CREATE)
	case "write into a map":
		return raw(unix.SYS_BPF, unix.BPF_MAP_UPDATE_ELEM)
	case "open a pin":
		return raw(unix.SYS_BPF, unix.BPF_OBJ_GET)
	case "open a map by its number":
		return raw(unix.SYS_BPF, unix.BPF_MAP_GET_FD_BY_ID)
	case "detach a link":
		return raw(unix.SYS_BPF, unix.BPF_LINK_DETACH)
	case "load a program by another name": // the kernel takes the lower half
		return raw(unix.SYS_BPF, 1<<32|unix.BPF_PROG_LOAD)
	case "enter a namespace":
		return raw(unix.SYS_SETNS, 0, unix.CLONE_NEWNET)
	case "make a namespace":
		return raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	case "make a namespace with a process":
		return raw(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD))
	case "trace":
		return raw(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(pid))
	case "read memory of":
		return raw(unix.SYS_PROCESS_VM_READV, uintptr(pid))
	case "mount":
		return raw(unix.SYS_MOUNT, 0, 0, 0, unix.MS_REMOUNT)
	case "start a program":
		return unix.Exec("/bin/true", []string{"true"}, nil)
	case "make a ring":
		return raw(unix.SYS_IO_URING_SETUP, 1)
	case "make a process":
		return fork()
	case "open":
		file, err := os.Open(arg)
		if err != nil {
			return err
		}
		return file.Close()
	case "connect to":
		conn, err := net.Dial("unix", arg)
		if err != nil {
			return err
		}
		return conn.Close()
	case "send datagrams to":
		return datagram(arg)
	case "kill":
		return unix.Kill(pid, 0)
	case "kill a thread of":
		return unix.Tgkill(pid, pid, 0)
	case "become root":
		return errors.Join(raw(unix.SYS_SETUID, 0), raw(unix.SYS_SETRESUID, 0, 0, 0))
	case "sniff":
		return raw(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0)
	case "loosen the filter":
		return raw(unix.SYS_SECCOMP, 1, 0, 0)
	case "let itself be traced":
		return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	case "work":
		return work(".")
	}
	return nil
}

// datagram sends something to a unix socket from one of a pair.
func datagram(to string) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return unix.Sendto(fds[0], []byte{1}, 0, &unix.SockaddrUnix{Name: to})
}

// fork makes a process, which ends at once should there be one.
func fork() error {
	child, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if errno != 0 {
		return errno
	}
	if child == 0 {
		unix.Exit(0)
	}
	return nil
}

// work does what a proxy does all day.
func work(dir string) error {
	return errors.Join(threads(), spool(dir), machineCode(), talk(), pair(), watch(dir), lookUp())
}

// lookUp looks something up in a map that is none. Kernels before 5.19 may say
// that they let nobody; the filter would have ended this process.
func lookUp() error {
	attr := [4]uint64{1 << 31}
	err := raw(unix.SYS_BPF, unix.BPF_MAP_LOOKUP_ELEM, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errors.Is(err, unix.EBADF) || errors.Is(err, unix.EPERM) {
		return nil
	}
	return fmt.Errorf("look up: %w", err)
}

// threads needs more of them than there are.
func threads() error {
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			runtime.LockOSThread()
			<-time.After(time.Millisecond)
		})
	}
	all.Wait()
	return nil
}

func spool(dir string) error {
	name := filepath.Join(dir, "new")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	fd := int(file.Fd())
	errs := []error{unix.Fallocate(fd, 0, 0, 8192), unix.Flock(fd, unix.LOCK_EX)}
	memory, err := unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	memory[0] = 1
	errs = append(errs, unix.Fdatasync(fd), unix.Msync(memory, unix.MS_SYNC), file.Sync(), unix.Munmap(memory))
	return errors.Join(append(errs, file.Close(), os.Rename(name, filepath.Join(dir, "old")))...)
}

// machineCode is what a compiler of WebAssembly does.
func machineCode() error {
	memory, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	memory[0] = 0xc3
	return errors.Join(unix.Mprotect(memory, unix.PROT_READ|unix.PROT_EXEC), unix.Munmap(memory))
}

func talk() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte{1})
	return errors.Join(err, conn.SetDeadline(time.Now().Add(time.Minute)), conn.Close())
}

// pair is what a connection inside of another one goes through.
func pair() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Close(fds[0]), unix.Close(fds[1]))
}

func watch(dir string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE)
	var random [8]byte
	return errors.Join(err, raw(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&random)), 8), unix.Close(fd))
}
