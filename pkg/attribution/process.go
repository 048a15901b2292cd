package attribution

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/workload"
)

const (
	// startTolerance is how far two readings of one start time may lie apart:
	// /proc counts in ticks of 10 ms, and the other reading may have been delayed
	// between its two clocks. Within it the pid space cannot be gone through once.
	startTolerance = 100 * time.Millisecond
	// clockTick is the unit of starttime in /proc/PID/stat, USER_HZ; it is 100
	// on every architecture that Go runs on (proc(5)).
	clockTick = 10 * time.Millisecond

	maxEnviron = 256 << 10 // bytes read of /proc/PID/environ
	maxCmdline = 16 << 10  // bytes read of /proc/PID/cmdline

	// maxReading bounds the claim reads that one cgroup can keep busy. Each
	// takes some 100 µs and a thread; but the memory behind environ and cmdline
	// belongs to the job, which can back it with a file system of its own that
	// never answers.
	maxReading = 32
)

// process is a directory of /proc, held open. Once its process has gone every
// read through it fails, also when the pid has a new owner.
type process struct{ dir *os.Root }

// openProcess opens the process that has pid and began at started.
func openProcess(pid uint32, started time.Time) (process, error) {
	if pid == 0 || started.IsZero() {
		return process{}, errors.New("process is not named by pid and start time")
	}
	dir, err := os.OpenRoot("/proc/" + strconv.FormatUint(uint64(pid), 10))
	if err != nil {
		return process{}, fmt.Errorf("open process: %w", err)
	}
	p := process{dir}
	actual, err := p.started()
	if err == nil && actual.Sub(started).Abs() > startTolerance {
		err = errors.New("pid has another process now")
	}
	if err != nil {
		return process{}, errors.Join(err, dir.Close())
	}
	return p, nil
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
	booted, err := bootTime()
	if err != nil {
		return time.Time{}, fmt.Errorf("read start time: %w", err)
	}
	return booted.Add(time.Duration(ticks) * clockTick), nil
}

// bootTime returns when CLOCK_BOOTTIME was zero. A thread can lose its turn
// between reading two clocks, so the closest of a few readings counts.
func bootTime() (time.Time, error) {
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

// exe returns the path of the program as its mount namespace names it, or
// nothing.
func (p process) exe() string {
	name, err := p.dir.Readlink("exe")
	if err != nil {
		return ""
	}
	return printable(name, maxValue)
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

// readClaims reads environment and command line, and closes p when that is
// done. The job may make the read hang, so nobody should wait for it without
// end.
func (r *Registry) readClaims(cgroupID uint64, p process) <-chan workload.Claims {
	if !r.beginReading(cgroupID) {
		r.log.Warn("too many reads of claims hang in one cgroup", zap.Uint64("cgroup_id", cgroupID), zap.Error(p.dir.Close()))
		return noClaims()
	}
	done := make(chan workload.Claims, 1)
	go func() {
		defer r.endReading(cgroupID)
		defer p.dir.Close() //nolint:errcheck // a directory, opened for reading
		environ, _ := p.read("environ", maxEnviron)
		cmdline, _ := p.read("cmdline", maxCmdline)
		done <- workload.Claims{Command: parseCommand(cmdline), Env: parseEnviron(environ)}
	}()
	return done
}

// await returns the claims that have come, or that come before ctx ends.
func await(ctx context.Context, claims <-chan workload.Claims) workload.Claims {
	select {
	case c := <-claims:
		return c
	default:
	}
	select {
	case c := <-claims:
		return c
	case <-ctx.Done():
		return workload.Claims{}
	}
}

// noClaims is the answer for a process that cannot be read.
func noClaims() <-chan workload.Claims {
	none := make(chan workload.Claims)
	close(none)
	return none
}

func (r *Registry) beginReading(cgroupID uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading[cgroupID] >= maxReading {
		return false
	}
	r.reading[cgroupID]++
	return true
}

func (r *Registry) endReading(cgroupID uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading[cgroupID]--
	if r.reading[cgroupID] == 0 {
		delete(r.reading, cgroupID)
	}
}
