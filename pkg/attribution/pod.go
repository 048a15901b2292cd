package attribution

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sluicegate/sluice/pkg/workload"
)

// pod asks the pods' runtime for a container's record and its pod's, once. The
// container may be the pod's sandbox itself, which most runtimes keep as one.
func (s Sources) pod(ctx context.Context, id string) (container, error) {
	status, info, err := s.containerStatus(ctx, id)
	itself := errors.Is(err, fs.ErrNotExist)
	if err != nil && !itself {
		return container{}, fmt.Errorf("inspect container: %w", err)
	}
	about := verbose{SandboxID: id}
	if !itself {
		if about, err = parseVerbose(info); err != nil {
			return container{}, fmt.Errorf("inspect container: %w", err)
		}
	}
	sandbox, info, err := s.sandboxStatus(ctx, about.SandboxID)
	if err != nil {
		return container{}, fmt.Errorf("inspect pod: %w", err)
	}
	around, untold := parseVerbose(info)
	if itself && untold != nil {
		return container{}, fmt.Errorf("inspect pod: %w", untold)
	}
	if itself {
		about = around
	}
	if about.Pid <= 0 {
		return container{}, errStarting
	}
	home, err := s.homeOf(ctx, about.Pid)
	if err != nil {
		return container{}, err
	}
	facts := podFacts(status, sandbox)
	facts.Container = id
	facts.Taints = append(facts.Taints, podTaints(status, sandbox, about, around, s.sockets(), s.nodeMounts(ctx))...)
	if untold != nil && !slices.Contains(facts.Taints, workload.TaintUntold) {
		facts.Taints = append(facts.Taints, workload.TaintUntold) // whether others in the pod are privileged
	}
	return container{facts: facts, home: home}, nil
}

// containerStatus returns a container's status, and the runtime's details.
func (s Sources) containerStatus(ctx context.Context, id string) (*cri.ContainerStatus, map[string]string, error) {
	var answer cri.ContainerStatusResponse
	if err := s.call(ctx, ContainerStatus, id, &answer); err != nil {
		return nil, nil, err
	}
	if answer.GetStatus().GetId() != id {
		return nil, nil, errors.New("the runtime answered for another container")
	}
	return answer.GetStatus(), answer.GetInfo(), nil
}

// sandboxStatus returns a pod's status, and the runtime's details.
func (s Sources) sandboxStatus(ctx context.Context, id string) (*cri.PodSandboxStatus, map[string]string, error) {
	var answer cri.PodSandboxStatusResponse
	if err := s.call(ctx, SandboxStatus, id, &answer); err != nil {
		return nil, nil, err
	}
	if answer.GetStatus().GetId() != id {
		return nil, nil, errors.New("the runtime answered for another pod")
	}
	if answer.GetStatus().GetMetadata().GetUid() == "" {
		return nil, nil, errors.New("the runtime does not say which pod it is")
	}
	return answer.GetStatus(), answer.GetInfo(), nil
}

// call decodes what the runtime answers.
func (s Sources) call(ctx context.Context, call PodCall, id string, into proto.Message) error {
	answer, err := s.Pod(ctx, call, id)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(answer, into); err != nil {
		return errors.New("the runtime's answer is not what it should be")
	}
	return nil
}

// nodeMounts returns what reads the mounts of the node, at most once. What cannot
// be read is not there, and then nothing that depends on it can be told.
func (s Sources) nodeMounts(ctx context.Context) func() []mount {
	return sync.OnceValue(func() []mount {
		text, err := s.Mounts(ctx)
		if err != nil {
			return nil
		}
		all, err := parseMounts(text)
		if err != nil {
			return nil
		}
		return all
	})
}

// podFacts puts the records into our words, with all text made safe to print.
// status is nil for the sandbox itself.
func podFacts(status *cri.ContainerStatus, sandbox *cri.PodSandboxStatus) workload.OrchFacts {
	pod := sandbox.GetMetadata()
	facts := workload.OrchFacts{
		Source:    "cri",
		Name:      printable(status.GetMetadata().GetName(), maxValue),
		Image:     printable(status.GetImage().GetImage(), maxValue),
		Pod:       printable(pod.GetUid(), maxValue),
		PodName:   printable(pod.GetName(), maxValue),
		Namespace: printable(pod.GetNamespace(), maxValue),
	}
	// The kubelet gives the pod's labels to the sandbox, and to a container only
	// its own words for what the metadata says.
	labels, ok := boundedLabels(sandbox.GetLabels())
	if !ok {
		facts.Taints = append(facts.Taints, workload.TaintLabels)
		return facts
	}
	facts.Labels = labels
	return facts
}
