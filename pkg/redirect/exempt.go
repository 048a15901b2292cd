package redirect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/cilium/ebpf/ringbuf"
)

// checkExempt refuses what would exempt more than a cgroup of the host.
func checkExempt(cgroups []string) error {
	for _, cgroup := range cgroups {
		if !path.IsAbs(cgroup) || path.Clean(cgroup) != cgroup || cgroup == "/" {
			return fmt.Errorf("exempt %s: not the path of a cgroup below the root", cgroup)
		}
	}
	return nil
}

// findExempt tells the programs which cgroups the exempt paths are now: a unit
// that starts again gets another. One that does not exist exempts nobody.
func (r *Redirect) findExempt() error {
	if r.cgroups == "" && len(r.exempt) > 0 {
		return errors.New("find exempt cgroups: this host has cgroup v1 alone, which does not tell programs who connects")
	}
	ids := make(map[uint64]bool)
	for _, cgroup := range r.exempt {
		id, err := inodeAt(filepath.Join(r.cgroups, cgroup))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find exempt cgroup: %w", err)
		}
		ids[id.ino] = true
	}
	// Removals come first: an id may have become somebody else's.
	if err := errors.Join(keepKeys(r.objects.ExemptCgroups, ids), addKeys(r.objects.ExemptCgroups, ids)); err != nil {
		return fmt.Errorf("write exempt cgroups: %w", err)
	}
	return nil
}

// readExemptions hands on what exempt processes did. It waits for whoever reads
// alerts, and then the programs wait for it: nothing of this is lost.
func (r *Redirect) readExemptions(ctx context.Context, events *ringbuf.Reader) error {
	var event ringbuf.Record
	for {
		err := events.ReadInto(&event)
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		var exempted redirectExemption
		if err := errors.Join(err, decode(event.RawSample, &exempted)); err != nil {
			return fmt.Errorf("read exemptions: %w", err)
		}
		select {
		case r.alerts <- exempted.alert():
		case <-ctx.Done():
			return nil
		}
	}
}
