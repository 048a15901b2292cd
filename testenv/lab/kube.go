package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/testenv/kubernetes"
	"github.com/sluicegate/sluice/testenv/netlab"
)

const kubeURL = "https://kube.lab:6443"

// The API server's users: whom the agent logs in as, by token or, for a job
// whose commit is verified, by certificate.
const (
	kubeAgent    = "sluice-agent"
	kubeReleaser = "sluice-releaser"
)

// kubePrograms are those of the server, in its order.
var kubePrograms = []string{"etcd", "kube-apiserver"}

// startKube starts the API server beside the lab's other steps, since it takes
// as long as all of them. What is returned waits for it.
func (l *lab) startKube() (wait func() error) {
	if !l.Kube {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		done <- l.runKube(ctx)
	}()
	return sync.OnceValue(func() error { return <-done })
}

func (l *lab) runKube(ctx context.Context) error {
	if err := os.MkdirAll(l.path("kube"), 0o700); err != nil {
		return err
	}
	token, err := l.secret("kube")
	if err != nil {
		return err
	}
	ns, err := netlab.Named(l.netnsOf("kube"))
	if err != nil {
		return err
	}
	defer ns.Close() //nolint:errcheck // it was read only
	programs := kubernetes.Programs{}
	for _, name := range kubePrograms {
		programs[name] = filepath.Join(kubernetes.Installed, name)
	}
	server, err := kubernetes.Start(ctx, kubernetes.Config{
		Dir: l.path("kube"), Programs: programs, Names: []string{"kube.lab"},
		Address: l.address(6), Listen: "0.0.0.0", Port: 6443, StorePort: 2379,
		Users: []kubernetes.User{{Name: kubeAgent, Token: token}},
		Flags: kubernetes.Small,
		Run:   l.runKubeProgram,
		// By its loopback address, as admin does: the agent reports connections to
		// the other one that are older than it.
		Dial: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
			err = ns.Do(func() (err error) {
				conn, err = new(net.Dialer).DialContext(ctx, network, "127.0.0.1:6443")
				return err
			})
			return conn, err
		},
	})
	if err != nil {
		return err
	}
	if _, _, err := server.Certify(kubeReleaser); err != nil {
		return err
	}
	return errors.Join(l.writeKubeconfigs(server), seedKube(ctx, server.Admin))
}

// runKubeProgram outlives this command, so down ends it.
func (l *lab) runKubeProgram(name string, argv ...string) (kubernetes.Process, error) {
	p, err := spawn(l.path("kube", name+".log"), nil, l.inNetns(l.netnsOf("kube"), argv...)...)
	if err != nil {
		return kubernetes.Process{}, err
	}
	if err := l.started(name, p); err != nil {
		return kubernetes.Process{}, err
	}
	return kubernetes.Process{Stop: func() error { return p.end(syscall.SIGTERM, 15*time.Second) }, Alive: p.alive}, nil
}

// stopKube ends the server before its store, which it writes to.
func (l *lab) stopKube() error {
	return errors.Join(l.Processes["kube-apiserver"].end(syscall.SIGTERM, 15*time.Second), l.Processes["etcd"].end(syscall.SIGTERM, 15*time.Second))
}

// kubeResource is the API server as the agent protects it.
func (l *lab) kubeResource() map[string]any {
	return map[string]any{
		"name": "kube", "protocol": "kubernetes", "hosts": []string{"kube.lab"}, "port": 6443,
		"credentials": []any{
			map[string]any{
				"when": "has(verified.sha)", "user": kubeReleaser,
				"cert_file": l.path("kube", "user-"+kubeReleaser+".pem"), "key_file": l.path("kube", "user-"+kubeReleaser+".key"),
			},
			map[string]any{"user": kubeAgent, "token_file": l.path("secrets", "kube")},
		},
		"server_tls": map[string]any{"mode": "verify-full", "ca_file": l.path("kube", "ca.pem")},
	}
}

// asKube is argv run beside the API server, as its administrator.
func (l *lab) asKube(argv ...string) (env, all []string) {
	return []string{"KUBECONFIG=" + l.path("kube", "admin.kubeconfig")}, l.inNetns(l.netnsOf("kube"), argv...)
}

// kubeconfigMount is Docker's volume option for what a fleet's owner puts into
// the image of jobs: where the API server is, and whom to believe.
func (l *lab) kubeconfigMount() string { return l.jobKubeconfig() + ":/root/.kube/config:ro" }

func (l *lab) jobKubeconfig() string { return l.path("kube", "job.kubeconfig") }

// writeKubeconfigs makes those of the administrator and of jobs.
func (l *lab) writeKubeconfigs(server *kubernetes.Server) error {
	// Whoever is beside the server goes to it by its loopback address: the other
	// one is protected, for this machine's root as for jobs.
	admin := kubernetes.Kubeconfig("https://127.0.0.1:6443", server.CAFile, server.AdminToken)
	// kubectl asks for a name and a password where a file has neither token nor
	// certificate. The job's own token is worth nothing.
	own, err := l.secret("kube-job")
	if err != nil {
		return err
	}
	job := kubernetes.Kubeconfig(kubeURL, jobAuthority, own)
	return errors.Join(
		l.write(admin, "kube", "admin.kubeconfig"),
		os.WriteFile(l.jobKubeconfig(), []byte(job), 0o644), //nolint:gosec // every user of the job reads it
	)
}

// seedKube makes what the demonstration reads and changes. No controller runs,
// so that deployments have no pods and namespaces go only as far as Terminating.
func seedKube(ctx context.Context, admin *kubernetes.Client) error {
	type object = kubernetes.Object
	for _, name := range []string{"shop", "prod"} {
		if err := admin.CreateNamespace(ctx, name); err != nil {
			return err
		}
	}
	meta := func(name string) object { return object{"name": name} }
	labels := object{"app": "web"}
	web := object{
		"metadata": meta("web"),
		"spec": object{
			"replicas": 2, "selector": object{"matchLabels": labels},
			"template": object{
				"metadata": object{"labels": labels},
				"spec":     object{"containers": []object{{"name": "web", "image": "shop.example/web:1.4", "env": []object{{"name": "DB_PASSWORD", "valueFrom": object{"secretKeyRef": object{"name": "db", "key": "password"}}}}}}},
			},
		},
	}
	const rbac, apps = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "/apis/apps/v1/namespaces/"
	for _, made := range []struct {
		path string
		object
	}{
		{rbac, object{
			"metadata": meta("sluice"),
			"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
			"subjects": []object{
				{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": kubeAgent},
				{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": kubeReleaser},
			},
		}},
		{"/api/v1/namespaces/shop/secrets", object{
			"metadata": meta("db"), "type": "Opaque",
			"stringData": object{"username": "app", "password": "correct-horse-battery"},
		}},
		{"/api/v1/namespaces/prod/secrets", object{
			"metadata": meta("db"), "type": "Opaque",
			"stringData": object{"username": "app", "password": "tr0ub4dor-and-3"},
		}},
		{"/api/v1/namespaces/shop/configmaps", object{"metadata": meta("settings"), "data": object{"currency": "EUR", "theme": "dark"}}},
		{"/api/v1/namespaces/prod/configmaps", object{"metadata": meta("settings"), "data": object{"currency": "EUR", "theme": "light"}}},
		{apps + "shop/deployments", web},
		{apps + "prod/deployments", web},
	} {
		if _, err := admin.Call(ctx, "POST", made.path, made.object); err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	return nil
}
