package pods

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/sluicegate/sluice/testenv/kubernetes"
)

func issuerURL() string { return "https://" + net.JoinHostPort(node.address, "6443") }

func caFile() string { return node.cluster.CAFile }

// startKubernetes runs etcd, the API server and the kubelet, and returns how to
// end them. No controller runs: what one would do, the tests do.
func startKubernetes(ctx context.Context, programs kubernetes.Programs) (down []func() error, err error) {
	dir := filepath.Join(node.dir, "kubernetes")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	node.cluster, err = kubernetes.Start(ctx, kubernetes.Config{
		Dir: dir, Programs: programs, Address: node.address, Port: 6443, StorePort: 2379, Listen: "0.0.0.0", Names: []string{protectedName},
		Flags: []string{"--kubelet-preferred-address-types=InternalIP"},
		Run: func(name string, argv ...string) (kubernetes.Process, error) {
			return kubernetes.Child(filepath.Join(dir, name+".log"), slices.Concat(onNode("."), argv)...)
		},
	})
	if err != nil {
		return nil, err
	}
	down = append(down, node.cluster.Stop)
	node.api = api{node.cluster.Admin}
	if err := node.api.prepare(ctx); err != nil {
		return down, err
	}
	if err := writeKubelet(); err != nil {
		return down, err
	}
	file := func(name string) string { return filepath.Join(node.dir, name) }
	kubelet, err := kubernetes.Child(logFile("kubelet"), slices.Concat(onNode("kubelet"), []string{
		programs["kubelet"], "--config", file("kubelet.yaml"), "--kubeconfig", node.cluster.KubeconfigFile(),
		"--root-dir", "/var/lib/kubelet", "--cert-dir", file("kubelet"), "--hostname-override", nodeName, "--node-ip", node.address, "-v", "2",
	})...)
	if err != nil {
		return down, err
	}
	down = append(down, kubelet.Stop, node.api.deleteAllPods)
	return down, node.api.waitNode(ctx)
}

func logFile(name string) string { return filepath.Join(node.dir, name+".log") }

// tail is the end of a program's log.
func tail(name string) string {
	text, _ := os.ReadFile(logFile(name))
	return string(text[max(0, len(text)-3000):])
}

// writeKubelet makes the kubelet's configuration. Nothing is reserved, evicted
// or collected on a machine that others use.
func writeKubelet() error {
	text := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: %s
containerRuntimeEndpoint: unix://%s
enforceNodeAllocatable: [none]
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%", imagefs.inodesFree: "0%%"}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
oomScoreAdj: 0
podLogsDir: /var/log/pods
resolvConf: ""
syncFrequency: 10s
`, node.address, node.tree, criSocket)
	return os.WriteFile(filepath.Join(node.dir, "kubelet.yaml"), []byte(text), 0o600)
}
