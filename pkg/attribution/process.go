package attribution

import (
	"context"
	"errors"
	"io"
	"os"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/workload"
)

const (
	maxEnviron = 256 << 10 // bytes read of /proc/PID/environ
	maxCmdline = 16 << 10  // bytes read of /proc/PID/cmdline

	// maxReading bounds the claim reads that one cgroup can keep busy. Each
	// takes some 100 µs and a thread; but the memory behind environ and cmdline
	// belongs to the job, which can back it with a file system of its own that
	// never answers.
	maxReading = 32
)

// Process is what is read of a process, while it lives. Environ and Cmdline
// belong to whoever got it; a read of them may hang for as long as the process
// pleases, and holds nothing once it has ended.
type Process struct {
	Exe              string // as its mount namespace names it; may be empty
	Cgroups          []byte // its /proc/PID/cgroup; empty when that cannot be read
	Environ, Cmdline *os.File
}

// Close closes the files.
func (p *Process) Close() error { return errors.Join(p.Environ.Close(), p.Cmdline.Close()) }

// said is what a process says: its claims, and the variables that were asked for.
type said struct {
	claims    workload.Claims
	variables Variables
}

// readClaims reads environment and command line, and closes p when that is
// done. The job may make the read hang, so nobody should wait for it without
// end.
func (r *Registry) readClaims(reader uint64, p *Process, variables []string) <-chan said {
	if !r.beginReading(reader) {
		r.log.Warn("too many reads of claims hang in one cgroup", zap.Uint64("cgroup_id", reader), zap.Error(p.Close()))
		return nothingSaid()
	}
	done := make(chan said, 1)
	go func() {
		defer r.endReading(reader)
		defer p.Close() //nolint:errcheck // opened for reading only
		environ, _ := io.ReadAll(io.LimitReader(p.Environ, maxEnviron))
		cmdline, _ := io.ReadAll(io.LimitReader(p.Cmdline, maxCmdline))
		done <- said{
			claims:    workload.Claims{Command: parseCommand(cmdline), Env: parseEnviron(environ)},
			variables: parseVariables(environ, variables),
		}
		clear(environ) // it may hold secrets that nobody asked for
	}()
	return done
}

// await returns what has been said, or is before ctx ends.
func await(ctx context.Context, coming <-chan said) said {
	select {
	case s := <-coming:
		return s
	default:
	}
	select {
	case s := <-coming:
		return s
	case <-ctx.Done():
		return said{}
	}
}

// nothingSaid is the answer for a process that cannot be read.
func nothingSaid() <-chan said {
	none := make(chan said)
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
