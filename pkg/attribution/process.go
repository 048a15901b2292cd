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

// readClaims reads environment and command line, and closes p when that is
// done. The job may make the read hang, so nobody should wait for it without
// end.
func (r *Registry) readClaims(reader uint64, p *Process) <-chan workload.Claims {
	if !r.beginReading(reader) {
		r.log.Warn("too many reads of claims hang in one cgroup", zap.Uint64("cgroup_id", reader), zap.Error(p.Close()))
		return noClaims()
	}
	done := make(chan workload.Claims, 1)
	go func() {
		defer r.endReading(reader)
		defer p.Close() //nolint:errcheck // opened for reading only
		environ, _ := io.ReadAll(io.LimitReader(p.Environ, maxEnviron))
		cmdline, _ := io.ReadAll(io.LimitReader(p.Cmdline, maxCmdline))
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
