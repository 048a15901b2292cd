// Package containerd runs a containerd of a test's own, with images made of
// local files: no registry is asked. Kubernetes speaks to it as to any other.
//
// What it leaves when it ends are the shims of containers that nobody removed.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PauseImage is the image of the sandboxes. It is there from the beginning.
const PauseImage = "sluice.test/pause:1"

// Config says how a containerd is to run.
type Config struct {
	Dir string // everything that it writes is below
	// Socket is where it listens; empty: in Dir, whose length counts then.
	Socket string
	// Prefix starts the program, as nsenter(1) does: its namespaces are those of
	// the pods' node. /run/containerd and /var/lib/cni must be their own there.
	Prefix []string
	// Subnet is the range of the pods' addresses, on a bridge in the node's
	// network namespace.
	Subnet string
}

// Daemon is a running containerd.
type Daemon struct {
	cfg Config
	cmd *exec.Cmd
	log string
}

// Socket is where it listens.
func (d *Daemon) Socket() string { return d.cfg.Socket }

// PID is that of the daemon, if Config.Prefix becomes the command that it begins.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Start runs a containerd and returns once it is ready for pods.
func Start(ctx context.Context, cfg Config) (*Daemon, error) {
	if cfg.Socket == "" {
		cfg.Socket = filepath.Join(cfg.Dir, "c.sock")
	}
	d := &Daemon{cfg: cfg, log: filepath.Join(cfg.Dir, "containerd.log")}
	if err := d.configure(); err != nil {
		return nil, err
	}
	err := d.launch(ctx)
	if err == nil {
		err = d.importPause(ctx)
	}
	if err != nil {
		text, _ := os.ReadFile(d.log)
		return nil, errors.Join(fmt.Errorf("start containerd: %w\n%s", err, text), d.Stop())
	}
	return d, nil
}

// launch runs the program and returns once it is ready for pods.
func (d *Daemon) launch(ctx context.Context) error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	argv := append(slices.Clone(d.cfg.Prefix), "containerd", "--config", d.path("containerd.toml"))
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	d.cmd = cmd
	return d.waitReady(ctx)
}

// Resume runs the daemon again after Stop. Containers have not noticed.
func (d *Daemon) Resume(ctx context.Context) error { return d.launch(ctx) }

// Stop ends the daemon, but no container.
func (d *Daemon) Stop() error {
	if d.cmd == nil {
		return nil // it never ran
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() { _ = d.cmd.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(20 * time.Second):
		err := d.cmd.Process.Kill()
		<-ended
		return errors.Join(errors.New("containerd had to be killed"), err)
	}
}

// Runtime is a client of its CRI.
func (d *Daemon) Runtime() (cri.RuntimeServiceClient, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+d.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return cri.NewRuntimeServiceClient(conn), conn, nil
}

func (d *Daemon) waitReady(ctx context.Context) error {
	client, conn, err := d.Runtime()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, func() (bool, error) {
		status, err := client.Status(ctx, &cri.StatusRequest{}, grpc.WaitForReady(true))
		ready := true
		for _, condition := range status.GetStatus().GetConditions() {
			ready = ready && condition.GetStatus()
		}
		return ready, err
	})
}

// until asks again and again, until something is true.
func until(ctx context.Context, is func() (bool, error)) error {
	for {
		if done, err := is(); done || err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Daemon) configure() error {
	files := map[string]string{
		"containerd.toml": fmt.Sprintf(`version = 2
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = %[3]q
[plugins."io.containerd.internal.v1.opt"]
  path = %[4]q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[5]q
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %[6]q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`, d.path("root"), d.path("state"), d.Socket(), d.path("opt"), PauseImage, d.path("cni")),
		"cni/net.conflist": fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
	"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
	"ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}`, d.path("ipam"), d.cfg.Subnet),
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) path(name string) string { return filepath.Join(d.cfg.Dir, name) }
