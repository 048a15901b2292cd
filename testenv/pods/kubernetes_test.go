package pods

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// programs are where Kubernetes' are, by name.
type programs map[string]string

// build makes the node's programs out of their modules. The go tool keeps what
// it has linked, so that only the first run takes minutes.
func build(ctx context.Context) (programs, error) {
	built := programs{}
	for name, pkg := range map[string]string{
		"etcd": "go.etcd.io/etcd/server/v3", "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver", "kubelet": "k8s.io/kubernetes/cmd/kubelet",
	} {
		cmd := exec.CommandContext(ctx, "go", "tool", "-n", pkg)
		cmd.Dir = "kubernetes"
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

const adminToken = "the-suites-own"

func issuerURL() string { return "https://" + net.JoinHostPort(node.address, "6443") }

func caFile() string { return filepath.Join(node.dir, "ca.pem") }

// startKubernetes runs etcd, the API server and the kubelet, and returns how to
// end them. No controller runs: what one would do, the tests do.
func startKubernetes(ctx context.Context, programs programs) (down []func() error, err error) {
	if err := writeFiles(); err != nil {
		return nil, err
	}
	run := func(name, cgroup string, args ...string) error {
		stop, err := startProgram(name, slices.Concat(onNode(cgroup), []string{programs[name]}, args))
		if err == nil {
			down = append(down, stop)
		}
		return err
	}
	file := func(name string) string { return filepath.Join(node.dir, name) }
	const store = "http://127.0.0.1:2379"
	if err := run("etcd", ".", "--data-dir", file("etcd"), "--listen-client-urls", store, "--advertise-client-urls", store,
		"--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync"); err != nil {
		return down, err
	}
	if err := run("kube-apiserver", ".", "--etcd-servers", store, "--bind-address", node.address, "--secure-port", "6443",
		"--cert-dir", file("apiserver"), "--tls-cert-file", file("server.pem"), "--tls-private-key-file", file("server.key"),
		"--service-account-issuer", issuerURL(), "--service-account-key-file", file("accounts.pub"),
		"--service-account-signing-key-file", file("accounts.key"), "--service-cluster-ip-range", "198.18.128.0/24",
		"--token-auth-file", file("tokens"), "--authorization-mode", "RBAC", "--allow-privileged"); err != nil {
		return down, err
	}
	if node.api, err = newAPI(caFile()); err != nil {
		return down, err
	}
	if err := node.api.prepare(ctx); err != nil {
		return down, err
	}
	if err := run("kubelet", "kubelet", "--config", file("kubelet.yaml"), "--kubeconfig", file("kubeconfig"),
		"--root-dir", "/var/lib/kubelet", "--cert-dir", file("kubelet"), "--hostname-override", nodeName, "--node-ip", node.address, "-v", "2"); err != nil {
		return down, err
	}
	down = append(down, node.api.deleteAllPods)
	return down, node.api.waitNode(ctx)
}

// startProgram runs a program with its output in a file.
func startProgram(name string, argv []string) (stop func() error, err error) {
	log, err := os.Create(logFile(name))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			return nil
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			return fmt.Errorf("%s had to be killed", name)
		}
	}, nil
}

func logFile(name string) string { return filepath.Join(node.dir, name+".log") }

// tail is the end of a program's log.
func tail(name string) string {
	text, _ := os.ReadFile(logFile(name))
	return string(text[max(0, len(text)-3000):])
}

// writeFiles makes keys and configurations.
func writeFiles() error {
	if err := writeKeys(); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"tokens": adminToken + `,admin,admin,"system:masters"` + "\n",
		"kubeconfig": fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: pods, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: node, user: {token: %q}}]
contexts: [{name: pods, context: {cluster: pods, user: node}}]
current-context: pods
`, issuerURL(), caFile(), adminToken),
		// Nothing is reserved, evicted or collected on a machine that others use.
		"kubelet.yaml": fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
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
`, node.tree, criSocket),
	} {
		if err := os.WriteFile(filepath.Join(node.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeKeys makes the API server's certificate with an authority of its own,
// and the key of the tokens that it issues.
func writeKeys() error {
	authority, authorityKey, err := certify("authority", nil, nil)
	if err != nil {
		return err
	}
	server, serverKey, err := certify("kube-apiserver", authority, authorityKey)
	if err != nil {
		return err
	}
	accounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(accounts.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM("ca.pem", "CERTIFICATE", authority.Raw), writePEM("server.pem", "CERTIFICATE", server.Raw),
		writeKey("server.key", serverKey), writeKey("accounts.key", accounts), writePEM("accounts.pub", "PUBLIC KEY", public),
	)
}

// certify makes a certificate; without a parent it is an authority's.
func certify(name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	wanted := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(node.address)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if parent == nil {
		wanted.IsCA, wanted.BasicConstraintsValid, wanted.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, parentKey = wanted, key
	}
	der, err := x509.CreateCertificate(rand.Reader, wanted, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	made, err := x509.ParseCertificate(der)
	return made, key, err
}

func writeKey(name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(name, "PRIVATE KEY", der)
}

func writePEM(name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(node.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
