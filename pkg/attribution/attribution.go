// Package attribution turns the origin of a connection, as the kernel recorded
// it, into the workload that opened it.
//
// It promises that a fact which cannot be found is absent and that the level
// of assurance is then lower: it never fails and never guesses. A container is
// named by the outermost boundary of its cgroup path, which the job cannot
// leave, and by nothing that the job wrote. The orchestrator's record is
// believed only when the container's own first process lives in that same
// cgroup. An answer takes at most half a second.
//
// On a host with cgroup v1 alone the programs see no cgroup. There the kernel is
// asked for the cgroups of the process that connected, by pid and start time: a
// process that has ended by then stays unattributed.
//
// It does not verify tokens (identity does). Exe, command line and environment
// are those of the moment of the look-up; the lineage is that of the connect.
package attribution

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/workload"
)

// budget bounds one call of Workload. The job waits for that long at most
// before its first byte.
const budget = 500 * time.Millisecond

// Origin is who connected, as the eBPF programs recorded it.
type Origin struct {
	CgroupID    uint64
	NetnsCookie uint64
	PID         uint32 // thread group id in the agent's pid namespace
	UID         uint32
	// Started is when the thread group began. With PID it names one process;
	// zero means unknown, and then nothing is read from /proc. It should keep
	// its monotonic reading, so that setting the wall clock changes nothing.
	Started time.Time
	// Lineage is what the kernel saw it and its ancestors execute; nil: unknown.
	Lineage *workload.Lineage
}

// Registry answers who is behind an origin. It is safe for concurrent use.
type Registry struct {
	sources Sources
	engines map[Engine]*records // of those that are asked
	pods    *records            // those of the pods' runtime; nil when there is none
	log     *zap.Logger

	mu      sync.Mutex
	reading map[uint64]int      // claim reads under way, by cgroup id; guarded by mu
	listed  map[Engine][]listed // what each engine answered last; guarded by mu
}

// New returns a registry. It opens nothing: what a source does not have shows
// as a lower level of assurance and one warning per look-up.
func New(sources Sources, log *zap.Logger) *Registry {
	r := &Registry{
		sources: sources, engines: make(map[Engine]*records), log: log,
		reading: make(map[uint64]int), listed: make(map[Engine][]listed),
	}
	for of, socket := range map[Engine]string{Docker: sources.DockerSocket, Podman: sources.PodmanSocket} {
		if socket != "" {
			r.engines[of] = newRecords(func(ctx context.Context, id string) (container, error) { return sources.inspect(ctx, of, id) })
		}
	}
	if sources.PodSocket != "" {
		r.pods = newRecords(sources.pod)
	}
	return r
}

// Workload returns all that can be found out about an origin.
func (r *Registry) Workload(ctx context.Context, o Origin) workload.Workload {
	w, _ := r.WorkloadWith(ctx, o, nil)
	return w
}

// WorkloadWith returns what Workload does and, apart from it, the values that
// the process has for some variables.
func (r *Registry) WorkloadWith(ctx context.Context, o Origin, variables []string) (workload.Workload, Variables) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()

	w := workload.Workload{
		Kernel: workload.KernelFacts{
			CgroupID:    o.CgroupID,
			NetnsCookie: o.NetnsCookie,
			PID:         o.PID,
			UID:         o.UID,
			Started:     o.Started,
		},
		Verified: map[string]any{},
	}
	addLineage(&w.Kernel, o.Lineage)
	// The process may end at any time, so it is opened first; but a job that
	// makes the reading of its claims hang must not cost the other facts.
	said, cgroups := r.addProcess(ctx, &w, o, variables)
	r.addContainer(ctx, &w, cgroups)
	came := await(ctx, said)
	w.Claimed = came.claims
	w.Agent = classify(w, o.Lineage)
	return w, came.variables
}

// addProcess fills what the kernel says of the process, if it is still the one
// that connected, and returns where what it says will arrive, and its cgroups.
func (r *Registry) addProcess(ctx context.Context, w *workload.Workload, o Origin, variables []string) (said <-chan said, cgroups []byte) {
	p, err := r.sources.Process(ctx, o.PID, o.Started)
	if err != nil {
		r.log.Debug("process facts are missing", zap.Uint32("pid", o.PID), zap.Error(err))
		return nothingSaid(), nil
	}
	w.Kernel.Exe = printable(p.Exe, maxValue)
	reader := o.CgroupID
	if reader == rootID { // everybody's, on a host with cgroup v1 alone
		reader = o.NetnsCookie
	}
	return r.readClaims(reader, p, variables), p.Cgroups
}

// addContainer fills the cgroup, the boundary it names and the orchestrator's
// record of it, and sets the level of assurance that these give.
func (r *Registry) addContainer(ctx context.Context, w *workload.Workload, cgroups []byte) {
	b, err := r.boundary(ctx, w, cgroups)
	if err != nil {
		r.log.Warn("cgroup is not known", zap.Uint64("cgroup_id", w.Kernel.CgroupID), zap.Error(err))
		return
	}
	if !b.known() {
		return
	}
	w.Assurance = workload.Kernel
	w.Kernel.Container = b.container
	if b.pod != "" {
		w.Orch = workload.OrchFacts{Source: "cgroup", Pod: b.pod}
	}
	w.Orch.Taints = r.seen(b, w.Kernel)
	runtime := r.runtimeOf(b)
	if b.container == "" || runtime == nil {
		return
	}
	facts, err := runtime.of(ctx, b)
	if err == nil && b.pod != "" && facts.Pod != "" && facts.Pod != b.pod {
		err = errors.New("the record is that of another pod")
	}
	if err != nil {
		r.log.Warn("container runtime gave no record", zap.String("container", b.container), zap.Error(err))
		w.Orch.Taints = append(w.Orch.Taints, workload.TaintUntold)
		return
	}
	for _, taint := range w.Orch.Taints {
		(*taints)(&facts.Taints).add(taint, true)
	}
	if b.pod != "" {
		facts.Pod = b.pod
	}
	w.Orch = facts
	w.Assurance = workload.Orchestrated
}

// seen returns what weakens a boundary as the kernel tells it. A record says that a
// container is on the node's network, but not that it joined one that is.
func (r *Registry) seen(b boundary, facts workload.KernelFacts) []string {
	var seen taints
	onNode := facts.NetnsCookie != 0 && facts.NetnsCookie == r.sources.NodeNetns
	seen.add(workload.TaintHostNetwork, b.container != "" && onNode)
	seen.add(workload.TaintNested, b.nested)
	return seen
}

// boundary returns that of the cgroup in which the process was when it
// connected. Where v2 had it in its root, as it has all on a host with v1 alone,
// that is what the hierarchies of v1 say of the same process now.
func (r *Registry) boundary(ctx context.Context, w *workload.Workload, cgroups []byte) (boundary, error) {
	path, err := r.sources.Cgroup(ctx, w.Kernel.CgroupID)
	if err != nil {
		return boundary{}, err
	}
	b := outermost(path)
	if v2, v1 := hierarchies(cgroups); path == "/" && v2 == "/" {
		path, b = agreed(v1)
	}
	w.Kernel.CgroupPath = path
	return b, nil
}

// runtimeOf returns whose container a boundary is, nil where nobody is asked. Docker
// runs pods too, where no other runtime is configured.
func (r *Registry) runtimeOf(b boundary) *records {
	if b.podman {
		return r.engines[Podman]
	}
	if docker := r.engines[Docker]; docker != nil && (b.pod == "" || r.pods == nil) {
		return docker
	}
	return r.pods
}
