package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/testenv/containerd"
	"github.com/sluicegate/sluice/testenv/kubernetes"
	"github.com/sluicegate/sluice/testenv/underlab"
)

const (
	nodeName    = "pods1"
	criSocket   = "/run/containerd/containerd.sock"
	proberImage = "sluice.test/prober:1"
	podSubnet   = "198.18.64.0/24" // as the lab's jobs, in the range for benchmarks (RFC 2544)

	// The API server has a second address, which is protected: what is the node's
	// own goes to the first one.
	protectedAPI  = "198.18.65.1"
	protectedName = "api.lab"
)

// node is the one Kubernetes node of this package's tests. They run one after
// the other and leave it as they found it: ready, with the lab's agent.
var node struct {
	lab     *underlab.Lab
	dir     string
	tree    string // the cgroup of everything that is the node's
	netns   string // name of its network namespace
	address string // where its API server is
	server  string // the protected database
	kubectl string // the program
	runtime *containerd.Daemon
	cluster *kubernetes.Server
	api     api
}

// underNode starts all that a node has, runs the tests and stops it again.
func underNode(m *testing.M, tree string) (status int) {
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	node.tree = tree
	down, err := start(ctx)
	if err == nil {
		status = m.Run()
	}
	for i := len(down) - 1; i >= 0; i-- {
		err = errors.Join(err, down[i]())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pods:", err)
		return 1
	}
	return status
}

// start returns what must be undone, also when it fails.
func start(ctx context.Context) (down []func() error, err error) {
	began := time.Now()
	programs, err := kubernetes.Build(ctx, "etcd", "kube-apiserver", "kubelet", "kubectl")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "pods: Kubernetes is built after %.0f s\n", time.Since(began).Seconds())
	if node.dir, err = os.MkdirTemp("", "sluice-node-"); err != nil {
		return nil, err
	}
	down = append(down, func() error { return os.RemoveAll(node.dir) })
	if err := copyKubectl(programs["kubectl"]); err != nil {
		return down, err
	}
	for _, step := range []func() error{ownMounts, ownCgroups} {
		if err := step(); err != nil {
			return down, err
		}
	}
	if node.lab, err = underlab.Up("../..", "pods", "policy.yaml", "--without", "kube"); err != nil {
		return down, err
	}
	down = append(down, node.lab.Down)
	if err := readLab(); err != nil {
		return down, err
	}
	node.runtime, err = containerd.Start(ctx, containerd.Config{
		Dir: filepath.Join(node.dir, "c"), Socket: criSocket, Subnet: podSubnet, Prefix: onNode("runtime"),
	})
	if err != nil {
		return down, err
	}
	down = append(down, node.runtime.Stop)
	if err := importProber(ctx); err != nil {
		return down, err
	}
	stop, err := startKubernetes(ctx, programs)
	down = append(down, stop...)
	if err == nil {
		err = configureAgent()
	}
	fmt.Fprintf(os.Stderr, "pods: the node is ready after %.0f s\n", time.Since(began).Seconds())
	return down, err
}

// ownMounts puts empty directories where the node keeps its state, and makes
// the kubelet see the settings of the kernel that it would set: they are the
// whole machine's.
func ownMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	for _, dir := range own {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount bpffs: %w", err)
	}
	// kubernetes/pkg/util/sysctl/sysctl.go
	settings := map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	}
	for name, value := range settings {
		file := filepath.Join("/var/lib/kubelet", strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return err
		}
		if err := unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide %s: %w", name, err)
		}
	}
	return nil
}

// ownCgroups makes the node's cgroup in every hierarchy, and below it those of
// its programs.
func ownCgroups() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		field := strings.Fields(line)
		if field[2] != "cgroup" && field[2] != "cgroup2" {
			continue
		}
		for _, dir := range []string{"", "runtime", "kubelet"} {
			path := filepath.Join(field[1], node.tree, dir)
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // a new cpuset of v1 has none
				above, err := os.ReadFile(filepath.Join(field[1], file))
				if err == nil && field[2] == "cgroup" {
					_ = os.WriteFile(filepath.Join(path, file), above, 0o600)
				}
			}
		}
	}
	return nil
}

// onNode begins the command line of a program of the node's: it is in the node's
// network namespace and in a cgroup of its own.
func onNode(cgroup string) []string {
	procs := filepath.Join(cgroupRoot(), node.tree, cgroup, "cgroup.procs")
	return []string{"nsenter", "--net=/run/netns/" + node.netns, "--", "sh", "-c", `echo $$ >"$0" && exec "$@"`, procs}
}

// cgroupRoot is where cgroup v2 is mounted.
func cgroupRoot() string {
	const hybrid = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(hybrid); err == nil {
		return hybrid
	}
	return "/sys/fs/cgroup"
}

// readLab finds out where the lab is.
func readLab() error {
	text, err := os.ReadFile(filepath.Join(node.lab.Dir, "state.json"))
	if err != nil {
		return err
	}
	var state struct{ Node string }
	if err := json.Unmarshal(text, &state); err != nil {
		return err
	}
	node.netns = state.Node
	hosts := filepath.Join(node.lab.Dir, "agent", "hosts")
	if text, err = os.ReadFile(hosts); err != nil {
		return err
	}
	// The node knows the lab's names, and with it the pods on its network.
	if err := unix.Mount(hosts, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", hosts, err)
	}
	for line := range strings.Lines(string(text)) {
		if address, name, _ := strings.Cut(strings.TrimSpace(line), " "); name == "pg.lab" {
			node.server = address
		}
	}
	_, console, _ := strings.Cut(settingsOf("console_url"), "//")
	node.address, _, _ = strings.Cut(console, ":")
	if node.server == "" || node.address == "" {
		return errors.New("the lab does not say where it is")
	}
	return nil
}

// settingsOf returns the rest of a line of the lab's agent's configuration.
func settingsOf(key string) string {
	text, _ := os.ReadFile(filepath.Join(node.lab.Dir, "agent", "agent.yaml"))
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, key+": "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// configureAgent tells the lab's agent of the node, and starts it again.
func configureAgent() error {
	file := filepath.Join(node.lab.Dir, "agent", "agent.yaml")
	config, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed, err := edited(string(config), func(config object) {
		config["attribution"].(object)["cri_socket"] = criSocket
		redirect := config["redirect"].(object)
		exempt, _ := redirect["exempt"].([]any)
		redirect["exempt"] = append(exempt, node.tree+"/runtime", node.tree+"/kubelet")
		identity := config["identity"].(object)
		// What deploy/kubernetes/agent.yaml says of the cluster's issuer.
		identity["issuers"] = append(identity["issuers"].([]any), object{
			"issuer": issuerURL(), "ca_file": caFile(), "audience": "sluice",
			"token_file": "/var/lib/kubelet/pods/{pod_uid}/volumes/kubernetes.io~projected/sluice-token/token",
			"bind":       []object{{"claim": "kubernetes.io/pod/uid", "to": "pod_uid"}},
		})
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		return err
	}
	if err := protectAPI(); err != nil {
		return err
	}
	for _, verb := range []string{"stop", "start"} {
		if r := underlab.ResultOf(node.lab.Command(time.Minute, verb, "agent")); r.Code != 0 {
			return fmt.Errorf("%s the agent: %s", verb, r.All())
		}
	}
	return nil
}

// protectAPI makes the API server's second address a resource, with the rules and
// masks of api.yaml.
func protectAPI() error {
	if out, err := exec.Command("nsenter", "--net=/run/netns/"+node.netns, "--", "ip", "address", "add", protectedAPI+"/32", "dev", "lo").CombinedOutput(); err != nil {
		return fmt.Errorf("add an address: %w: %s", err, out)
	}
	hosts, err := os.OpenFile(filepath.Join(node.lab.Dir, "agent", "hosts"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(hosts, "%s %s\n", protectedAPI, protectedName)
	token := filepath.Join(node.lab.Dir, "secrets", "api")
	if err := errors.Join(err, hosts.Close(), os.WriteFile(token, []byte(node.cluster.AdminToken), 0o600)); err != nil {
		return err
	}
	file := filepath.Join(node.lab.Dir, "agent", "policy.yaml")
	policy, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	more, err := os.ReadFile("api.yaml")
	if err != nil {
		return err
	}
	own := object{}
	if err := yaml.Unmarshal(more, &own); err != nil {
		return err
	}
	changed, err := edited(string(policy), func(policy object) {
		for _, part := range []string{"masks", "rules"} {
			policy[part] = append(policy[part].([]any), own[part].([]any)...)
		}
		policy["resources"] = append(policy["resources"].([]any), object{
			"name": "api", "protocol": "kubernetes", "hosts": []string{protectedName}, "port": 6443,
			"credentials": []object{{"user": "admin", "token_file": token}},
			"server_tls":  object{"mode": "verify-full", "ca_file": caFile()},
		})
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		return err
	}
	return newAuthority()
}

// newAuthority replaces the authority of the client legs, which speaks only for
// the names that there were.
func newAuthority() error {
	agent := filepath.Join(node.lab.Dir, "agent")
	for _, name := range []string{"ca.pem", "ca.key"} {
		if err := os.Remove(filepath.Join(agent, "trust", name)); err != nil {
			return err
		}
	}
	out, err := exec.Command(filepath.Join(node.lab.Dir, "bin", "sluice-agent"), "authority", "--config", filepath.Join(agent, "agent.yaml")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make an authority: %w: %s", err, out)
	}
	return nil
}

// copyKubectl puts kubectl where jobs see it.
func copyKubectl(from string) error {
	program, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	node.kubectl = filepath.Join(node.dir, "kubectl")
	return os.WriteFile(node.kubectl, program, 0o755)
}

// edited changes a YAML document.
func edited(document string, change func(object)) (string, error) {
	o := object{}
	if err := yaml.Unmarshal([]byte(document), &o); err != nil {
		return "", err
	}
	change(o)
	changed, err := yaml.Marshal(o)
	return string(changed), err
}

func importProber(ctx context.Context) error {
	program := filepath.Join(node.dir, "prober")
	if err := containerd.Build(ctx, "prober", program); err != nil {
		return err
	}
	return node.runtime.Import(ctx, containerd.Image{
		Name: proberImage, Files: map[string]string{"prober": program}, Entrypoint: []string{"/prober"},
	})
}
