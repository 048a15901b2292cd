package guard

import (
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/workload"
)

// Bounds of what is remembered of workloads, so that a job which never says the
// same twice costs no more.
const (
	maxHistories = 1024
	maxShapes    = 1024 // of one workload
	maxDone      = 512  // of one workload
	// rememberFor is how long a workload is remembered after its last session.
	rememberFor = time.Hour
)

// Histories remember what workloads were allowed, for the people who are asked
// what else they may. They are safe for concurrent use. The zero value is ready.
type Histories struct {
	mu  sync.Mutex
	all map[job]*History // guarded by mu
}

// job tells workloads apart: those in one network namespace by their container.
type job struct {
	netns     uint64
	container string
}

// History is what one workload was allowed.
type History struct {
	open  int       // sessions; guarded by Histories.mu
	until time.Time // when to forget it, once none is open; guarded by Histories.mu

	mu     sync.Mutex
	shapes map[[16]byte]uint64 // how often; guarded by mu
	done   map[string]bool     // what was done to what, as deeds writes it; guarded by mu
	full   bool                // there was more; guarded by mu
}

// Of returns a workload's history until release is called; nil where too many
// workloads are remembered.
func (h *Histories) Of(w *workload.Workload) (history *History, release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(h.all, func(_ job, old *History) bool { return old.open == 0 && now.After(old.until) })
	key := job{w.Kernel.NetnsCookie, w.Kernel.Container}
	history = h.all[key]
	if history == nil && len(h.all) >= maxHistories {
		return nil, func() {}
	}
	if history == nil {
		history = &History{shapes: map[[16]byte]uint64{}, done: map[string]bool{}}
		if h.all == nil {
			h.all = map[job]*History{}
		}
		h.all[key] = history
	}
	history.open++
	return history, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		history.open--
		history.until = time.Now().Add(rememberFor)
	}
}

// allowed notes an operation.
func (h *History) allowed(op *operation.Operation) {
	shape := shapeOf(op)
	if h == nil || shape == ([16]byte{}) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n, known := h.shapes[shape]
	if !known && len(h.shapes) >= maxShapes {
		h.full = true
		return
	}
	h.shapes[shape] = n + 1
	if known {
		return
	}
	for _, deed := range deeds(op) {
		if len(h.done) >= maxDone {
			h.full = true
			return
		}
		h.done[deed] = true
	}
}

// before tells how often an operation of that shape was allowed, and what of it
// never was. Whole is false where not everything is remembered.
func (h *History) before(op *operation.Operation) (same uint64, first []string, whole bool) {
	if h == nil || op.SQL == nil && op.Kube == nil {
		return 0, nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, deed := range deeds(op) {
		if !h.done[deed] {
			first = append(first, deed)
		}
	}
	return h.shapes[shapeOf(op)], first, !h.full
}

// shapeOf is what operations share that differ only in values; zero: nobody
// knows. Of a cluster it is what is done to which resource of a namespace.
func shapeOf(op *operation.Operation) (shape [16]byte) {
	switch {
	case op.SQL != nil:
		return op.SQL.Shape
	case op.Kube != nil:
		sum := sha256.Sum256([]byte(kubeDeed(op.Kube)))
		copy(shape[:], sum[:])
	}
	return shape
}

// kubeDeed is what is done to objects of a cluster, as in "delete pods in shop".
func kubeDeed(k *operation.Kube) string {
	deed := *k
	deed.Name, deed.Container, deed.Command = "", "", nil
	return deed.Summary()
}

// deeds are what a text does to what, as in "DELETE orders".
func deeds(op *operation.Operation) (all []string) {
	if op.Kube != nil {
		return []string{kubeDeed(op.Kube)}
	}
	for i := range op.SQL.Statements {
		s := &op.SQL.Statements[i]
		if len(s.Relations) == 0 {
			all = append(all, s.Kind)
		}
		for _, relation := range s.Relations {
			all = append(all, s.Kind+" "+relation)
		}
	}
	return all
}
