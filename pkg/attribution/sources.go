package attribution

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// startTolerance is how far two readings of one start time may lie apart:
	// /proc counts in ticks of 10 ms, and the other reading may have been delayed
	// between its two clocks. Within it the pid space cannot be gone through once.
	startTolerance = 100 * time.Millisecond
	// clockTick is the unit of starttime in /proc/PID/stat, USER_HZ; it is 100
	// on every architecture that Go runs on (proc(5)).
	clockTick = 10 * time.Millisecond

	maxCgroup = 16 << 10 // bytes read of /proc/PID/cgroup
)

// MaxAnswer bounds one answer of a container runtime, in bytes.
const MaxAnswer = 16 << 20

// containerID is what the runtimes call a container, and the digest of an image. It
// needs no escaping.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Sources are what a Registry reads, each through a function, because on a
// node another process than the Registry's may do so. What they return is as
// it was found: nothing in it is parsed, checked or made safe to print.
type Sources struct {
	// Process opens the process that has pid and began at started.
	Process func(ctx context.Context, pid uint32, started time.Time) (*Process, error)
	// Cgroup returns a cgroup's path below the root, with a leading slash.
	Cgroup func(ctx context.Context, id uint64) (string, error)
	// Cgroups returns the /proc/PID/cgroup of a process.
	Cgroups func(ctx context.Context, pid int) ([]byte, error)
	// Container returns an engine's record of a container, as JSON, and behind
	// Podman's the OCI runtime's configuration. The id is 64 hex digits.
	Container func(ctx context.Context, of Engine, id string) ([]byte, error)
	// Image returns an engine's record of an image, as JSON. The id is 64 hex
	// digits.
	Image func(ctx context.Context, of Engine, id string) ([]byte, error)
	// Containers returns an engine's list of all running containers, as JSON, and
	// behind Podman's the one in its own words.
	Containers func(ctx context.Context, of Engine) ([]byte, error)
	// Addresses returns the addresses of the node's own links.
	Addresses func(ctx context.Context) ([]netip.Addr, error)
	// NodeNetns is the cookie of the node's own network namespace; 0: unknown.
	NodeNetns uint64
	// DockerSocket and PodmanSocket are where the engines listen; who has an empty
	// one is not asked.
	DockerSocket, PodmanSocket string
	// Pod returns what the pods' runtime answers to one of its calls.
	Pod func(ctx context.Context, call PodCall, id string) ([]byte, error)
	// Mounts returns the mounts that the pods' runtime sees, as in
	// /proc/PID/mountinfo.
	Mounts func(ctx context.Context) ([]byte, error)
	// PodSocket is where the pods' runtime listens; empty: it is not asked.
	PodSocket string
}

// sockets are where this node's runtimes listen.
func (s Sources) sockets() []string {
	return slices.DeleteFunc([]string{s.DockerSocket, s.PodmanSocket, s.PodSocket}, func(socket string) bool { return socket == "" })
}

// Config says where this machine is to be read.
type Config struct {
	CgroupRoot   string // mount point of cgroup v2
	DockerSocket string // path of the Docker Engine's unix socket; empty: there is none
	PodmanSocket string // path of the unix socket of root's Podman; empty: there is none
	CRISocket    string // path of the unix socket of the pods' runtime; empty: there is none
}

// Local reads this machine itself. It takes root, or what stands in for it.
func Local(cfg Config) Sources {
	all := engines{Docker: dialEngine(cfg.DockerSocket), Podman: dialEngine(cfg.PodmanSocket)}
	return Sources{
		Process: openProcess,
		Cgroup:  func(ctx context.Context, id uint64) (string, error) { return cgroupPath(ctx, cfg.CgroupRoot, id) },
		Cgroups: readCgroups,
		Container: func(ctx context.Context, of Engine, id string) ([]byte, error) {
			return all.container(ctx, of, id, cfg.PodmanSocket)
		},
		Image: func(ctx context.Context, of Engine, id string) ([]byte, error) {
			return all.inspect(ctx, of, "/images/sha256:", id)
		},
		Containers:   all.containers,
		Addresses:    func(context.Context) ([]netip.Addr, error) { return ownAddresses() },
		NodeNetns:    OwnNetns(),
		DockerSocket: cfg.DockerSocket,
		PodmanSocket: cfg.PodmanSocket,
		Pod:          podRuntime(cfg.CRISocket),
		Mounts:       func(ctx context.Context) ([]byte, error) { return readMounts(ctx, cfg.CRISocket) },
		PodSocket:    cfg.CRISocket,
	}
}

// ownAddresses returns the addresses of this network namespace's links.
func ownAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			return nil, fmt.Errorf("read the node's addresses: %w", err)
		}
		addrs = append(addrs, prefix.Addr())
	}
	return addrs, nil
}

// OwnNetns returns the cookie of this process's network namespace, 0 where the
// kernel does not tell it.
func OwnNetns() uint64 {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was sent
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return cookie
}

// bounded reads all, or fails when that is more than limit.
func bounded(from io.Reader, limit int64) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(all)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return all, err
}

// readCgroups takes any pid: what it reads is no secret.
func readCgroups(_ context.Context, pid int) ([]byte, error) {
	file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	return bounded(file, maxCgroup)
}

// process is a directory of /proc, held open. Once its process has gone every
// read through it fails, also when the pid has a new owner.
type process struct{ dir *os.Root }

// openProcess opens the process that has pid and began at started.
func openProcess(_ context.Context, pid uint32, started time.Time) (*Process, error) {
	if pid == 0 || started.IsZero() {
		return nil, errors.New("process is not named by pid and start time")
	}
	dir, err := os.OpenRoot("/proc/" + strconv.FormatUint(uint64(pid), 10))
	if err != nil {
		return nil, fmt.Errorf("open process: %w", err)
	}
	defer dir.Close() //nolint:errcheck // a directory, opened for reading
	p := process{dir}
	actual, err := p.started()
	if err != nil {
		return nil, err
	}
	if actual.Sub(started).Abs() > startTolerance {
		return nil, errors.New("pid has another process now")
	}
	return p.open()
}

// open opens what a Registry reads. Opened files, too, belong to this process
// and to none that has its pid later.
func (p process) open() (*Process, error) {
	environ, err := p.dir.Open("environ")
	if err != nil {
		return nil, fmt.Errorf("open environment: %w", err)
	}
	cmdline, err := p.dir.Open("cmdline")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open command line: %w", err), environ.Close())
	}
	exe, _ := p.dir.Readlink("exe") // a kernel thread has none
	cgroups, err := p.read("cgroup", maxCgroup+1)
	if err != nil || len(cgroups) > maxCgroup { // cut short, it might say something else
		cgroups = nil
	}
	return &Process{Exe: exe, Cgroups: cgroups, Environ: environ, Cmdline: cmdline}, nil
}

// started reads the start time and places it on the clocks of this process. The
// result has a monotonic reading: two of them compare well after the wall clock
// was set.
func (p process) started() (time.Time, error) {
	stat, err := p.read("stat", 4<<10)
	if err != nil {
		return time.Time{}, fmt.Errorf("read start time: %w", err)
	}
	// The command name is in parentheses and may hold anything, also
	// parentheses and spaces. starttime is field 22; field 3 follows the last ")".
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return time.Time{}, errors.New("read start time: too few fields")
	}
	ticks, err := strconv.ParseInt(string(fields[19]), 10, 64)
	if err != nil {
		return time.Time{}, errors.New("read start time: not a number")
	}
	booted, err := BootTime()
	if err != nil {
		return time.Time{}, fmt.Errorf("read start time: %w", err)
	}
	return booted.Add(time.Duration(ticks) * clockTick), nil
}

// BootTime returns when CLOCK_BOOTTIME was zero. A thread can lose its turn
// between reading two clocks, so the closest of a few readings counts.
func BootTime() (time.Time, error) {
	var booted time.Time
	closest := time.Duration(math.MaxInt64)
	for range 3 {
		before := time.Now()
		var up unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
			return time.Time{}, os.NewSyscallError("clock_gettime", err)
		}
		if apart := time.Since(before); apart < closest {
			closest, booted = apart, before.Add(-time.Duration(up.Nano()))
		}
	}
	return booted, nil
}

// read returns at most limit bytes of a file of the process.
func (p process) read(name string, limit int64) ([]byte, error) {
	file, err := p.dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	return io.ReadAll(io.LimitReader(file, limit))
}
