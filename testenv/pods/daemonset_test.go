package pods

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sluicegate/sluice/testenv/containerd"
	"github.com/sluicegate/sluice/testenv/kubernetes"
	"github.com/sluicegate/sluice/testenv/underlab"
)

const agentImage = "sluice-agent:REPLACE"

// TestDaemonSetsPodGuardsTheNode runs the pod of deploy/kubernetes/agent.yaml as
// it stands there, with this node's answers where the file asks for some.
func TestDaemonSetsPodGuardsTheNode(t *testing.T) {
	importAgent(t)
	installConfiguration(t)
	node.lab.Do(t, "uninstall", "agent")
	t.Cleanup(func() { node.lab.Do(t, "start", "agent") })
	t.Cleanup(func() { uninstall(t) })
	label(t)

	agent := run(t, "sluice", "agent-1", template(t))
	agent.waitReady(t)
	lasting := run(t, "shop", "job-lasting", withToken(spec(prober("main", "-every", "100ms", "-report"))))
	lasting.waitLog(t, "main", "app")
	p := run(t, "shop", "job-guarded", withSubPath(withDir(withToken(spec(prober("main")))), "work", "_work", "/work"))
	if got := p.said(t); got != "app" {
		t.Fatalf("the job got %q", got)
	}
	if s := p.session(t, "main"); s.Assurance != "A3" || s.Orch["pod_name"] != "job-guarded" || s.Orch["taints"] != nil {
		t.Errorf("%s, %v", s.Assurance, s.Orch)
	}

	agent.remove(t)
	lasting.waitLog(t, "main", "refused")
	p = run(t, "shop", "job-unguarded", spec(prober("main")))
	if got := p.said(t); got != "refused" {
		t.Errorf("without the agent's pod a job got %q", got)
	}
	before := strings.Count(lasting.log("main"), "app")
	run(t, "sluice", "agent-2", template(t)).waitReady(t)
	underlab.Within(t, time.Minute, "the pod is served again", func() bool { return strings.Count(lasting.log("main"), "app") > before })
	// The runtime's socket is another one from now on, which the pod must see.
	if err := errors.Join(node.runtime.Stop(), node.runtime.Resume(t.Context())); err != nil {
		t.Fatal(err)
	}
	p = run(t, "shop", "job-guarded-again", withToken(spec(prober("main"))))
	if got := p.said(t); got != "app" {
		t.Errorf("with the agent's pod again a job got %q", got)
	}
	if s := p.session(t, "main"); s.Assurance != "A3" || s.Orch["pod_name"] != "job-guarded-again" {
		t.Errorf("%s, %v", s.Assurance, s.Orch)
	}
}

// waitReady waits until the kubelet's readiness probe has succeeded.
func (p *pod) waitReady(t *testing.T) {
	t.Helper()
	var statuses []object
	err := kubernetes.Until(t.Context(), 2*time.Minute, func() (bool, error) {
		statuses = list(p.status(t), "status", "containerStatuses")
		return len(statuses) == 1 && statuses[0]["ready"] == true, nil
	})
	if err != nil {
		t.Fatalf("the agent's pod is not ready: %v\n%s\n%s", statuses, p.log("agent"), tail("kubelet"))
	}
}

// uninstall does what operations.md says of a node that is given up.
func uninstall(t *testing.T) {
	s := template(t)
	s["restartPolicy"] = "Never"
	main := list(s, "containers")[0]
	main["args"] = []string{"uninstall", "--config", "/etc/sluice/agent.yaml"}
	delete(main, "readinessProbe")
	p := &pod{namespace: "sluice", name: "uninstall"}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := node.api.Create(ctx, p.namespace, "pods", object{"metadata": object{"name": p.name}, "spec": s}); err != nil {
		t.Error(err)
		return
	}
	defer p.remove(t)
	err := kubernetes.Until(ctx, time.Minute, func() (bool, error) {
		found, err := node.api.Call(ctx, http.MethodGet, p.path(), nil)
		return text(found, "status", "phase") == "Succeeded", err
	})
	pins, _ := filepath.Glob("/sys/fs/bpf/sluice/*")
	if err != nil || len(pins) > 0 {
		t.Errorf("uninstall: %v, it left %v", err, pins)
	}
}

// label makes the node one of those that the DaemonSet is for.
func label(t *testing.T) {
	t.Helper()
	found, err := node.api.Call(t.Context(), http.MethodGet, "/api/v1/nodes/"+nodeName, nil)
	if err == nil {
		labels, _ := at(found, "metadata", "labels").(object)
		labels["sluice.dev/runner"] = "true"
		_, err = node.api.Call(t.Context(), http.MethodPut, "/api/v1/nodes/"+nodeName, found)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// manifest returns the object of a kind and name in agent.yaml.
func manifest(t *testing.T, kind, name string) object {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(node.lab.Root, "deploy", "kubernetes", "agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(file)); ; {
		var o object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if o["kind"] == kind && text(o, "metadata", "name") == name {
			return o
		}
	}
	t.Fatalf("agent.yaml has no %s %s", kind, name)
	return nil
}

// template returns the DaemonSet's pod, on this node.
func template(t *testing.T) object {
	t.Helper()
	s, _ := at(manifest(t, "DaemonSet", "sluice-agent"), "spec", "template", "spec").(object)
	s["nodeName"] = nodeName
	return s
}

// installConfiguration makes what the pod mounts.
func installConfiguration(t *testing.T) {
	t.Helper()
	file := func(parts ...string) string {
		content, err := os.ReadFile(filepath.Join(append([]string{node.lab.Dir}, parts...)...))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(content))
	}
	const keys = "/var/lib/sluice-agent/keys"
	enrol := exec.Command(filepath.Join(node.lab.Dir, "bin", "sluice-collector"), "enrol",
		"--config", filepath.Join(node.lab.Dir, "collector", "collector.yaml"), "--name", nodeName, "--out", keys)
	if out, err := enrol.CombinedOutput(); err != nil {
		t.Fatalf("enrol: %v\n%s", err, out)
	}
	logKey, err := os.ReadFile(filepath.Join(keys, "log.pub"))
	if err != nil {
		t.Fatal(err)
	}
	issuerCA, err := os.ReadFile(caFile())
	if err != nil {
		t.Fatal(err)
	}
	policy, err := edited(text(manifest(t, "ConfigMap", "sluice-policy"), "data", "policy.yaml"), func(policy object) {
		policy["resources"] = []object{{
			"name": "shop-db", "protocol": "postgres", "hosts": []string{"pg.lab"}, "port": 5432,
			"credentials": []object{{"user": "app", "password_file": "/etc/sluice/secrets/shop-db"}},
			"server_tls":  object{"mode": "verify-full", "ca_file": "shop-db-ca.pem"},
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	config, err := edited(text(manifest(t, "ConfigMap", "sluice-agent"), "data", "node1.yaml"), func(config object) {
		config["name"], config["console_url"] = nodeName, settingsOf("console_url")
		config["bus"] = object{"url": "nats://127.0.0.1:4222", "nkey_seed_file": keys + "/nkey.seed"}
		config["collector"] = object{"log_key": strings.TrimSpace(string(logKey))}
		list(at(config, "identity").(object), "issuers")[0]["issuer"] = issuerURL()
		config["approvals"].(object)["root_key"] = file("ctl", "root.pub")
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]object{
		"sluice-agent":  {nodeName + ".yaml": config},
		"sluice-policy": {"policy.yaml": policy, "roster.json": file("roster.json"), "issuer-ca.pem": string(issuerCA), "shop-db-ca.pem": file("ca.pem")},
	} {
		if err := node.api.Create(t.Context(), "sluice", "configmaps", object{"metadata": object{"name": name}, "data": data}); err != nil {
			t.Fatal(err)
		}
	}
	secret := base64.StdEncoding.EncodeToString([]byte(file("secrets", "shop-db")))
	if err := node.api.Create(t.Context(), "sluice", "secrets", object{"metadata": object{"name": "sluice-resources"}, "data": object{"shop-db": secret}}); err != nil {
		t.Fatal(err)
	}
}

// importAgent makes the agent's image as its Dockerfile says.
func importAgent(t *testing.T) {
	t.Helper()
	dockerfile, err := os.ReadFile(filepath.Join(node.lab.Root, "deploy", "image", "agent.Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	image := containerd.Image{Name: "docker.io/library/" + agentImage, Files: map[string]string{}}
	for line := range strings.Lines(string(dockerfile)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "COPY":
			from, to, _ := strings.Cut(rest, " ")
			image.Files[strings.TrimPrefix(to, "/")] = filepath.Join(node.lab.Dir, "bin", from)
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(rest), &image.Entrypoint)
		case "CMD":
			err = json.Unmarshal([]byte(rest), &image.Cmd)
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if len(image.Files) != 1 || !slices.Contains(image.Entrypoint, "/usr/local/bin/sluice-agent") {
		t.Fatalf("the Dockerfile says %+v", image)
	}
	if err := node.runtime.Import(t.Context(), image); err != nil {
		t.Fatal(err)
	}
}
