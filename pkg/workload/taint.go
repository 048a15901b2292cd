package workload

// The taints of OrchFacts: what weakens the boundary around a container.
const (
	TaintPrivileged    = "privileged"          // every capability and device
	TaintBeside        = "beside-privileged"   // a container of the same pod is, as the one of a Docker daemon for jobs
	TaintHostPID       = "host-pid"            // sees and may trace the node's processes
	TaintHostNetwork   = "host-network"        // shares the node's network namespace
	TaintRuntimeSocket = "runtime-socket"      // can ask the container runtime for anything
	TaintHostPath      = "host-path"           // a system directory of the node is mounted writable
	TaintUntold        = "untold"              // the runtime, though asked, does not tell all of this, or where a mount leads
	TaintCapability    = "powerful-capability" // SYS_ADMIN, SYS_PTRACE, SYS_MODULE, DAC_READ_SEARCH, BPF or ALL
	TaintUnconfined    = "unconfined"          // seccomp or AppArmor is off
	TaintNested        = "nested"              // a container inside the one that is named
	TaintLabels        = "labels-oversized"    // labels were too many or too long and are all left out
	TaintLabelsUntold  = "labels-untold"       // the runtime does not tell which of them the image brings, and all are left out
)

// NodeRoot says whether a process in the container can become root on the
// node, and so read what belongs to its neighbours. A token then proves
// nothing about who holds it.
func (o OrchFacts) NodeRoot() bool {
	for _, taint := range o.Taints {
		switch taint {
		case TaintPrivileged, TaintBeside, TaintHostPID, TaintRuntimeSocket, TaintHostPath, TaintUntold, TaintCapability:
			return true
		}
	}
	return false
}
