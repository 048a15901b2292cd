package agent

import (
	"sync/atomic"

	"github.com/sluicegate/sluice/pkg/policy"
)

// PolicyChanged is what a client is told whose session cannot go on under
// another policy.
const PolicyChanged = "the policy has changed what is hidden or read here: connect again"

// Following is one open session and the policy that holds for it. Rules change
// from one operation to the next. Masks do not, because much of a session rests
// on them: when a policy comes that hides other things in its resource, or whose
// rules read what the session does not tell, the session ends. Until it has
// ended, it stays under the policy that it began with.
type Following struct {
	from     *Policies
	resource string
	began    *policy.Policy
	changed  atomic.Bool
	end      func()
}

// Follow begins to follow for a session of a resource that opens now. end is
// called at most once, and must not block. The caller closes it.
func (p *Policies) Follow(resource string, end func()) *Following {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &Following{from: p, resource: resource, began: p.current.Load(), end: end}
	p.open[f] = true
	return f
}

// Began returns the policy whose masks the session has.
func (f *Following) Began() *policy.Policy { return f.began }

// Policy returns the one that rules on the next operation.
func (f *Following) Policy() *policy.Policy {
	now := f.from.current.Load() // before changed: whoever sees the new one sees that too
	if f.changed.Load() {
		return f.began
	}
	return now
}

// Changed reports whether the session had to end.
func (f *Following) Changed() bool { return f.changed.Load() }

// Close ends the following.
func (f *Following) Close() {
	f.from.mu.Lock()
	defer f.from.mu.Unlock()
	delete(f.from.open, f)
}
