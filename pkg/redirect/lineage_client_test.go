package redirect_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// playDescendant runs this program again, so many times more, each time in the
// given way, and then connects.
func playDescendant(generations, way, to string) error {
	n, err := strconv.Atoi(generations)
	if err != nil {
		return err
	}
	if way == "held" {
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
			return err
		}
	}
	if n == 0 && way == "worker" {
		return connectByWorker(netip.MustParseAddrPort(to))
	}
	if n == 0 && way == "foreign" {
		return connectForeign(to)
	}
	if n == 0 {
		conn, err := net.Dial("tcp", to)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{exe, "descend", strconv.Itoa(n - 1), way, to}
	switch way {
	case "exec", "held", "worker":
		return syscall.Exec(exe, args, nil)
	case "foreign":
		return runWithSocket(args)
	case "thread":
		return execOnThread(exe, args)
	case "descriptor":
		args[2] = "0"
		return execDescriptor(exe, args)
	case "memory":
		return execMemory(exe, "claude", args)
	case "orphan":
		return spawn(args, &syscall.SysProcAttr{Setsid: true})
	case "namespaces":
		return spawn(args, &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		})
	default:
		group, err := os.Open(way)
		if err != nil {
			return err
		}
		return spawn(args, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())})
	}
}

// runWithSocket gives a child a socket that was made here.
func runWithSocket(args []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "socket")}
	return cmd.Run()
}

// connectForeign connects with a socket of another process.
func connectForeign(to string) error {
	const inherited = 3
	return unix.Connect(inherited, sockaddr(unix.AF_INET, netip.MustParseAddrPort(to)))
}

// spawn starts a child, with vfork, and does not wait for it.
func spawn(args []string, how *syscall.SysProcAttr) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = how
	return cmd.Start()
}

// execOnThread calls execve on another thread than the first, which takes the
// first one's place.
func execOnThread(exe string, args []string) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			failed <- errors.New("this is the first thread")
			return
		}
		failed <- syscall.Exec(exe, args, nil)
	}()
	return <-failed
}

func execDescriptor(exe string, args []string) error {
	fd, err := unix.Open(exe, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return execveat(fd, args)
}

func execMemory(exe, name string, args []string) error {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, program); err != nil {
		return err
	}
	args[2] = "0"
	return execveat(fd, args)
}

// execveat runs what a descriptor is of.
func execveat(fd int, args []string) error {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	empty, environ := []byte{0}, []*byte{nil}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&environ[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}
