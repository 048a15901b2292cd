// Package workload says who opened a connection.
//
// It is words only: plain values that every other package shares. Each group
// of facts carries its provenance in its name, so that nobody mistakes what a
// job says about itself for what the kernel or an issuer attests. The package
// finds nothing out; attribution and identity do.
package workload

import "time"

// Assurance says how well a workload is known. The zero value is the weakest.
type Assurance int

// The levels of assurance, weakest first.
const (
	Unattributed Assurance = iota // A0: no container or unit could be named
	Kernel                        // A1: a container or unit, attested by the kernel
	Orchestrated                  // A2: and the orchestrator's record of it
	Verified                      // A3: and a verified token bound to an attested fact
	Minted                        // A4: and a CI token minted for us, cross-checked
)

// String returns "A0" to "A4".
func (a Assurance) String() string {
	if a < Unattributed || a > Minted {
		return "A0"
	}
	return [...]string{"A0", "A1", "A2", "A3", "A4"}[a]
}

// MarshalText writes the level as String does.
func (a Assurance) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote; anything else is A0.
func (a *Assurance) UnmarshalText(text []byte) error {
	*a = Unattributed
	for level := Unattributed; level <= Minted; level++ {
		if level.String() == string(text) {
			*a = level
		}
	}
	return nil
}

// Workload is the process, container, pod and job that opened a connection.
// It is immutable once a session has begun.
type Workload struct {
	Assurance Assurance      `json:"assurance"`
	Kernel    KernelFacts    `json:"kernel"`
	Orch      OrchFacts      `json:"orch"`
	Verified  map[string]any `json:"verified"` // claims of a checked and bound token; never nil in JSON
	Claimed   Claims         `json:"claimed"`
	Agent     Agent          `json:"agent"`
}

// KernelFacts are what the kernel recorded at connect; the job cannot forge
// them.
type KernelFacts struct {
	CgroupID    uint64    `json:"cgroup_id"`
	CgroupPath  string    `json:"cgroup_path,omitempty"` // below the cgroup v2 root, or v1's where that is all there is; empty when it is gone
	NetnsCookie uint64    `json:"netns_cookie"`
	PID         uint32    `json:"pid"` // in the agent's pid namespace
	UID         uint32    `json:"uid"`
	Started     time.Time `json:"started"`             // of the process; with PID it names one process
	Exe         string    `json:"exe,omitempty"`       // target of /proc/PID/exe
	Container   string    `json:"container,omitempty"` // full container id read from the cgroup path

	// Lineage is what the process and its ancestors executed since the first of
	// them came into the container, oldest first, as execve was given it; nil:
	// unknown. LineageLeftOut is how many are missing between the second and the
	// third, and LineageWhole says that nothing else is.
	Lineage        []string `json:"lineage,omitempty"`
	LineageLeftOut uint64   `json:"lineage_left_out,omitempty"`
	LineageWhole   bool     `json:"lineage_whole,omitempty"`
}

// OrchFacts are what the container runtime or orchestrator says of the
// container that the kernel named.
type OrchFacts struct {
	Source    string            `json:"source,omitempty"` // "docker", "cri", "cgroup"; empty: nobody was asked or knew
	Container string            `json:"container,omitempty"`
	Name      string            `json:"name,omitempty"` // of the container; within its pod, where there is one
	Image     string            `json:"image,omitempty"`
	Pod       string            `json:"pod,omitempty"` // uid
	PodName   string            `json:"pod_name,omitempty"`
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"` // of the pod, where there is one
	Taints    []string          `json:"taints,omitempty"` // what weakens the boundary: "privileged", "host-pid", …
}

// FullName names a container among all: within its pod, where there is one, it
// has a name that many pods' have.
func (o OrchFacts) FullName() string {
	if o.PodName == "" {
		return o.Name
	}
	return o.PodName + "/" + o.Name
}

// Claims are what the job says of itself. They grant nothing.
type Claims struct {
	Command []string          `json:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty"` // an allow-list of CI and agent variables
}

// AgentKind is the kind of actor behind a workload.
type AgentKind string

// The kinds of actor.
const (
	AgentUnknown  AgentKind = "unknown"
	AgentPipeline AgentKind = "pipeline"
	AgentAI       AgentKind = "ai"
)

// Agent is the AI coding agent or pipeline that acts through the workload,
// with the evidence for it, each entry prefixed by its provenance.
type Agent struct {
	Kind     AgentKind `json:"kind"`
	Product  string    `json:"product,omitempty"`
	Evidence []string  `json:"evidence,omitempty"` // "kernel.exec /usr/local/bin/claude", "claimed.env CLAUDECODE"
}
