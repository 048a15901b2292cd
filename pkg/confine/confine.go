// Package confine takes from a process what it does not need, for good.
//
// Enter promises that afterwards every thread runs as an ordinary user, with no
// supplementary group, no capability in any set, no way to gain one, no
// debugger, and a filter of system calls: those that a network program in Go
// makes are allowed, those that load code into the kernel, enter namespaces,
// start programs or look into other processes end the process, and all others
// fail with EPERM. If any step fails the process must end: Enter undoes
// nothing.
//
// It takes nothing back that the process already holds: descriptors stay open
// and memory stays readable. It does not hide the file system, limits no
// resources, and works only where cgo is off, since only then are all threads
// Go's own.
package confine

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// User is whom a process becomes.
type User struct{ UID, GID int }

// Lookup returns a user by name or number. A number needs no entry in the
// user database; its group is then the same number. Root is refused.
func Lookup(name string) (User, error) {
	if id, err := strconv.ParseUint(name, 10, 31); err == nil {
		return checked(name, User{UID: int(id), GID: int(id)})
	}
	entry, err := user.Lookup(name)
	if err != nil {
		return User{}, fmt.Errorf("look up user %s: %w", name, err)
	}
	uid, uidErr := strconv.Atoi(entry.Uid)
	gid, gidErr := strconv.Atoi(entry.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return User{}, fmt.Errorf("look up user %s: %w", name, err)
	}
	return checked(name, User{UID: uid, GID: gid})
}

func checked(name string, u User) (User, error) {
	if u.UID == 0 || u.GID == 0 {
		return User{}, fmt.Errorf("user %s is root, or of root's group", name)
	}
	return u, nil
}

// Enter confines this process as u. It takes CAP_SETUID, CAP_SETGID and
// CAP_SETPCAP. The death of the parent's thread that started this process
// kills it from then on.
//
// It must be called on the main thread.
func Enter(u User) error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"empty the bounding set", emptyBoundingSet},
		{"become the user", func() error { return become(u) }},
		{"drop capabilities", dropCapabilities},
		{"renounce new privileges", func() error { return everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1) }},
		{"forbid debuggers", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }},
		// Becoming another user cleared what the parent had set.
		{"die with the parent", func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) }},
		{"load the system call filters", loadFilters},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("confine: %s: %w", step.name, err)
		}
	}
	return nil
}

// become changes groups before the user: after it nothing can be changed.
func become(u User) error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("leave supplementary groups: %w", err)
	}
	if err := syscall.Setresgid(u.GID, u.GID, u.GID); err != nil {
		return fmt.Errorf("change group: %w", err)
	}
	if err := syscall.Setresuid(u.UID, u.UID, u.UID); err != nil {
		return fmt.Errorf("change user: %w", err)
	}
	return nil
}

// emptyBoundingSet keeps a program that this process might start from having
// capabilities. EINVAL says that the kernel knows no further one.
func emptyBoundingSet() error {
	for capability := uintptr(0); ; capability++ {
		err := everyThread(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, capability)
		if errors.Is(err, unix.EINVAL) && capability > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// dropCapabilities empties the other sets. Becoming an ordinary user did so
// already, unless a securebit said otherwise.
func dropCapabilities() error {
	if err := everyThread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return everyThread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)))
}

// everyThread makes a system call on each thread of the process. It fails
// where cgo is on.
func everyThread(number uintptr, args ...uintptr) error {
	var a [3]uintptr
	copy(a[:], args)
	if _, _, errno := syscall.AllThreadsSyscall(number, a[0], a[1], a[2]); errno != 0 {
		return errno
	}
	return nil
}
