package confine

import (
	"os"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// newNamespaces are the flags of clone(2) that make namespaces.
const newNamespaces = unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWNS |
	unix.CLONE_NEWPID | unix.CLONE_NEWUSER | unix.CLONE_NEWUTS

// fatal are what no honest proxy ever asks for: the attempt is the evidence.
var fatal = []string{
	// Code in the kernel, and the kernel itself. Of bpf see loadFilters.
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "perf_event_open",
	// Namespaces and mounts.
	"setns", "unshare", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsmount",
	"fsconfig", "fspick", "mount_setattr", "open_by_handle_at",
	// Other processes.
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_open", "pidfd_getfd", "kcmp",
	"execve", "execveat",
	// Doors that the filter cannot see through, or that exploits like.
	"io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "keyctl", "add_key", "request_key",
	"personality", "iopl", "ioperm", "modify_ldt",
}

// allowed are what the Go runtime, its poller, the spool's mapped files, the
// WebAssembly compiler and TCP and UDP sockets take.
var allowed = []string{
	// Memory.
	"brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "mincore", "msync", "membarrier",
	// Threads, signals of our own, time.
	"futex", "sched_yield", "sched_getaffinity", "set_robust_list", "rseq", "getpid", "gettid", "getppid", "exit",
	"exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
	"nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "adjtimex", "setitimer",
	"timer_create", "timer_settime", "timer_delete", "getcpu",
	// What the process may know of itself.
	"getuid", "geteuid", "getgid", "getegid", "getgroups", "getrlimit", "prlimit64", "getrusage", "uname", "sysinfo",
	"getrandom", "getcwd",
	// Files, as the user that it is.
	"openat", "close", "close_range", "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev",
	"lseek", "fstat", "newfstatat", "stat", "lstat", "statx", "statfs", "fstatfs", "faccessat", "faccessat2", "access",
	"readlink", "readlinkat", "getdents64", "mkdirat", "unlinkat", "renameat", "renameat2", "ftruncate", "fallocate",
	"fsync", "fdatasync", "sync_file_range", "flock", "fcntl", "dup", "dup3", "pipe2", "fadvise64", "copy_file_range",
	"inotify_init1", "inotify_add_watch", "inotify_rm_watch",
	// Waiting.
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "poll", "ppoll", "pselect6",
	// Sockets; which ones may be made is said below.
	"connect", "accept4", "bind", "listen", "getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown",
	"sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "sendfile", "splice",
}

// loadFilters puts two filters in force on every thread, and on those to come.
// Of what they say of a call, the strictest counts.
//
// When a condition does not hold, the assembled filter compares what follows
// with the argument instead of the call's number. So conditions stand last, in
// an order in which no argument that fails one can pass a later one.
func loadFilters() error {
	err := load(seccomp.ActionAllow, seccomp.ActionKillProcess, fatal, []seccomp.NameWithConditions{
		when("bpf", seccomp.NotEqual, unix.BPF_MAP_LOOKUP_ELEM), // in a map that it was given: records of connections
		when("clone", seccomp.BitsSet, newNamespaces),
	})
	if err != nil {
		return err
	}
	// The default is EPERM, also for the calls of another machine's ABI.
	return load(seccomp.ActionErrno, seccomp.ActionAllow, allowed, []seccomp.NameWithConditions{
		when("bpf", seccomp.Equal, unix.BPF_MAP_LOOKUP_ELEM),
		when("tgkill", seccomp.Equal, uint64(os.Getpid())), // the runtime signals its own threads
		when("socket", seccomp.Equal, unix.AF_INET),        // no unix sockets: what listens on one trusts who reaches it
		when("socket", seccomp.Equal, unix.AF_INET6),
		streamPair(),
		when("clone", seccomp.BitsSet, unix.CLONE_THREAD), // no processes; clone3 hides its flags, and fails
	})
}

// when is a call whose first argument has to hold.
func when(name string, operation seccomp.Operation, value uint64) seccomp.NameWithConditions {
	return seccomp.NameWithConditions{
		Name: name, Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: operation, Value: value}},
	}
}

// streamPair are two sockets that lead to each other and, being streams, nowhere
// else. Datagrams could be sent to any unix socket.
func streamPair() seccomp.NameWithConditions {
	pair := when("socketpair", seccomp.Equal, unix.AF_UNIX)
	pair.Conditions = append(pair.Conditions, seccomp.Condition{
		Argument: 1, Operation: seccomp.Equal, Value: unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK,
	})
	return pair
}

// load puts one filter in force: an action for the calls that are named, and
// one for all others.
func load(others, action seccomp.Action, names []string, conditions []seccomp.NameWithConditions) error {
	machine, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	known := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, found := machine.SyscallNames[name]
		return !found // on this machine: what does not exist needs no rule
	})
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: others,
			Syscalls:      []seccomp.SyscallGroup{{Action: action, Names: known, NamesWithCondtions: conditions}},
		},
	})
}
