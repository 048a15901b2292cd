package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Installed is where scripts/install-deps puts the programs of a lab.
const Installed = "/usr/local/lib/sluice-kubernetes"

// Programs are where Kubernetes' are, by name.
type Programs map[string]string

// packages are the programs' own, in the module beside this file.
var packages = map[string]string{
	"etcd":           "go.etcd.io/etcd/server/v3",
	"kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
	"kubectl":        "k8s.io/kubernetes/cmd/kubectl",
	"kubelet":        "k8s.io/kubernetes/cmd/kubelet",
}

// Build makes programs out of their modules. The go tool keeps what it has
// linked, so that only the first run takes minutes. It is for tests: they run in
// a directory of this module, by which it is found.
func Build(ctx context.Context, names ...string) (Programs, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module: %w", err)
	}
	built := Programs{}
	for _, name := range names {
		cmd := exec.CommandContext(ctx, "go", "tool", "-n", packages[name])
		cmd.Dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "testenv", "kubernetes", "programs")
		// As in scripts/install-deps, or each would link for itself.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath '-ldflags=-s -w'")
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				err = fmt.Errorf("%w\n%s", err, exit.Stderr)
			}
			return nil, fmt.Errorf("build %s: %w", name, err)
		}
		built[name] = strings.TrimSpace(string(out))
	}
	return built, nil
}
