package policy

import (
	"cel.dev/cel-go/cel"

	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

func sessionObject() object {
	return object{sessionType, []field{
		{
			name: "id", typ: cel.StringType, doc: "the session's id",
			get: of(func(s *session.Session) any { return s.ID }),
		},
		{
			name: "resource", typ: cel.StringType, doc: "the resource's name in this file",
			get: of(func(s *session.Session) any { return s.Resource }),
		},
		{
			name: "protocol", typ: cel.StringType, doc: "the protocol that is spoken",
			get: of(func(s *session.Session) any { return s.Protocol }),
		},
		{
			name: "destination", typ: cel.StringType, doc: "address and port that the job asked for, as in \"192.0.2.7:5432\"",
			get: of(func(s *session.Session) any { return s.Destination.String() }),
		},
	}}
}

func kernelObject() object {
	return object{kernelType, []field{
		{
			name: "cgroup_path", typ: cel.StringType, doc: "below the root of cgroup v2",
			get: of(func(k *workload.KernelFacts) any { return k.CgroupPath }),
		},
		{
			name: "container", typ: cel.StringType, doc: "container id in the cgroup's path",
			get: of(func(k *workload.KernelFacts) any { return k.Container }),
		},
		{
			name: "exe", typ: cel.StringType, doc: "path of the program, in the job's own file system: a job can put any program there",
			get: of(func(k *workload.KernelFacts) any { return k.Exe }),
		},
		{
			name: "lineage", typ: stringsType,
			doc: "what it and its ancestors executed since they came into the container, oldest first, as execve was given it: names that a job chooses; empty where the kernel cannot tell",
			get: of(func(k *workload.KernelFacts) any { return k.Lineage }),
		},
		{
			name: "lineage_whole", typ: cel.BoolType, doc: "nothing is missing there but what a long chain leaves out after its second; false where it is not known",
			get: of(func(k *workload.KernelFacts) any { return k.LineageWhole }),
		},
		{
			name: "uid", typ: cel.IntType, doc: "user id outside the container",
			get: of(func(k *workload.KernelFacts) any { return int64(k.UID) }),
		},
	}}
}

func orchObject() object {
	return object{orchType, []field{
		{
			name: "source", typ: cel.StringType, doc: "who said so: \"docker\", \"podman\", \"cri\" or, of a pod, \"cgroup\"; empty: nobody",
			get: of(func(o *workload.OrchFacts) any { return o.Source }),
		},
		{
			name: "container", typ: cel.StringType, doc: "container id",
			get: of(func(o *workload.OrchFacts) any { return o.Container }),
		},
		{
			name: "name", typ: cel.StringType, doc: "container name, in a pod its name there",
			get: of(func(o *workload.OrchFacts) any { return o.Name }),
		},
		{
			name: "image", typ: cel.StringType, doc: "image as it was asked for",
			get: of(func(o *workload.OrchFacts) any { return o.Image }),
		},
		{
			name: "pod", typ: cel.StringType, doc: "pod uid",
			get: of(func(o *workload.OrchFacts) any { return o.Pod }),
		},
		{
			name: "pod_name", typ: cel.StringType, doc: "pod name",
			get: of(func(o *workload.OrchFacts) any { return o.PodName }),
		},
		{
			name: "namespace", typ: cel.StringType, doc: "pod namespace",
			get: of(func(o *workload.OrchFacts) any { return o.Namespace }),
		},
		{
			name: "labels", typ: mapType, doc: "labels of the container but for those of its image; in a pod the pod's",
			get: of(func(o *workload.OrchFacts) any { return o.Labels }),
		},
		{
			name: "taints", typ: stringsType, doc: "what weakens the container's boundary, as in \"privileged\"",
			get: of(func(o *workload.OrchFacts) any { return o.Taints }),
		},
	}}
}

func claimedObject() object {
	return object{claimedType, []field{
		{
			name: "command", typ: stringsType, doc: "command line of the process",
			get: of(func(c *workload.Claims) any { return c.Command }),
		},
		{
			name: "env", typ: mapType, doc: "the CI variables of its environment",
			get: of(func(c *workload.Claims) any { return c.Env }),
		},
	}}
}

func agentObject() object {
	kinds := []string{string(workload.AgentUnknown), string(workload.AgentPipeline), string(workload.AgentAI)}
	return object{agentType, []field{
		{
			name: "kind", typ: cel.StringType, doc: "what sort of actor it is", values: kinds,
			get: of(func(a *workload.Agent) any { return string(a.Kind) }),
		},
		{
			name: "product", typ: cel.StringType, doc: "which coding agent it is",
			get: of(func(a *workload.Agent) any { return a.Product }),
		},
		{
			name: "evidence", typ: stringsType, doc: "why we think so, each with its provenance",
			get: of(func(a *workload.Agent) any { return a.Evidence }),
		},
	}}
}
