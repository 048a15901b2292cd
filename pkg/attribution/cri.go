package attribution

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodCall is one of the calls of the Kubernetes container runtime interface,
// CRI v1, that are made.
type PodCall uint8

// The calls. Both are made with verbose set.
const (
	ContainerStatus PodCall = iota + 1
	SandboxStatus           // of a pod, whose id is that of its sandbox
)

// podRuntime asks the runtime that listens at a unix socket. It connects when
// it is first asked, and again after the runtime was restarted. The answer is
// handed on as it came: who decodes it has no privilege to lose.
func podRuntime(socket string) func(context.Context, PodCall, string) ([]byte, error) {
	if socket == "" {
		return func(context.Context, PodCall, string) ([]byte, error) { return nil, errors.New("there is no runtime") }
	}
	client, dialErr := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket that only root may open
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxAnswer), grpc.ForceCodec(asItCame{})))
	return func(ctx context.Context, call PodCall, id string) ([]byte, error) {
		if dialErr != nil {
			return nil, dialErr
		}
		method, question, err := call.question(id)
		if err != nil {
			return nil, err
		}
		var answer []byte
		err = client.Invoke(ctx, method, question, &answer)
		if status.Code(err) == codes.NotFound {
			return nil, fmt.Errorf("%w: the runtime does not know %s", fs.ErrNotExist, id)
		}
		return answer, err
	}
}

// question returns the name of a call's method, and its request.
func (c PodCall) question(id string) (method string, request []byte, err error) {
	if !containerID.MatchString(id) {
		return "", nil, errors.New("no id of a container")
	}
	switch c {
	case ContainerStatus:
		request, err = proto.Marshal(&cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
		return cri.RuntimeService_ContainerStatus_FullMethodName, request, err
	case SandboxStatus:
		request, err = proto.Marshal(&cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
		return cri.RuntimeService_PodSandboxStatus_FullMethodName, request, err
	}
	return "", nil, errors.New("no call of the runtime's")
}

// asItCame is a gRPC codec for messages that somebody else encodes and decodes.
type asItCame struct{}

// Name is that of protobuf, which it is on the wire.
func (asItCame) Name() string { return "proto" }

// Marshal takes what is encoded.
func (asItCame) Marshal(message any) ([]byte, error) {
	if encoded, ok := message.([]byte); ok {
		return encoded, nil
	}
	return nil, errors.New("not encoded")
}

// Unmarshal gives what is encoded.
func (asItCame) Unmarshal(encoded []byte, message any) error {
	into, ok := message.(*[]byte)
	if !ok {
		return errors.New("not to be decoded here")
	}
	*into = append([]byte(nil), encoded...) // the buffer is gRPC's
	return nil
}
