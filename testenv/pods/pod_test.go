package pods

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/testenv/kubernetes"
	"github.com/sluicegate/sluice/testenv/underlab"
)

// pod is one that was given to the kubelet.
type pod struct {
	namespace, name, uid string
}

// database is where every job connects to.
func database() string { return net.JoinHostPort(node.server, "5432") }

// prober is a container that asks the database.
func prober(name string, args ...string) object {
	return object{"name": name, "image": proberImage, "imagePullPolicy": "Never", "args": append(args, database())}
}

// spec is that of an ordinary pod, which names what filters its system calls.
func spec(containers ...object) object {
	return object{
		"nodeName": nodeName, "restartPolicy": "Never", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
		"securityContext": object{"seccompProfile": object{"type": "RuntimeDefault"}},
		"containers":      containers,
	}
}

// withToken projects a token for Sluice into a pod's first container.
func withToken(s object) object {
	s["volumes"] = append(listOf(s["volumes"]), object{"name": "sluice-token", "projected": object{"sources": []object{
		{"serviceAccountToken": object{"audience": "sluice", "path": "token", "expirationSeconds": 600}},
	}}})
	return mounting(s, object{"name": "sluice-token", "mountPath": "/token", "readOnly": true})
}

// withHostPath mounts a directory of the node's into a pod's first container.
func withHostPath(s object, path, at string) object {
	s["volumes"] = append(listOf(s["volumes"]), object{"name": "node", "hostPath": object{"path": path}})
	return mounting(s, object{"name": "node", "mountPath": at})
}

// withDir gives a pod a volume of its own, of which it mounts nothing yet.
func withDir(s object) object {
	s["volumes"] = append(listOf(s["volumes"]), object{"name": "work", "emptyDir": object{}})
	return s
}

// withSubPath mounts a part of a volume into a pod's first container.
func withSubPath(s object, volume, part, at string) object {
	return mounting(s, object{"name": volume, "subPath": part, "mountPath": at})
}

func mounting(s, mount object) object {
	first := listOf(s["containers"])[0]
	first["volumeMounts"] = append(listOf(first["volumeMounts"]), mount)
	return s
}

func listOf(value any) []object {
	all, _ := value.([]object)
	return all
}

// run gives a pod to the kubelet, and takes it back when the test has ended.
func run(t *testing.T, namespace, name string, spec object) *pod {
	t.Helper()
	p := &pod{namespace: namespace, name: name}
	err := node.api.Create(t.Context(), namespace, "pods", object{
		"metadata": object{"name": name, "labels": object{"buildkite.com/job-uuid": name}}, "spec": spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.remove(t) })
	p.uid = text(p.status(t), "metadata", "uid")
	return p
}

// remove deletes the pod and waits until the kubelet has done so.
func (p *pod) remove(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := node.api.deletePod(ctx, p.namespace, p.name, 1); err != nil {
		t.Error(err)
	}
	if err := kubernetes.Until(ctx, time.Minute, func() (bool, error) {
		_, err := node.api.Call(ctx, http.MethodGet, p.path(), nil)
		return err != nil, nil
	}); err != nil {
		t.Errorf("pod %s is still there: %v\n%s", p.name, err, tail("kubelet"))
	}
}

func (p *pod) path() string { return "/api/v1/namespaces/" + p.namespace + "/pods/" + p.name }

func (p *pod) status(t *testing.T) object {
	t.Helper()
	found, err := node.api.Call(t.Context(), http.MethodGet, p.path(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// waitPhase waits until the pod is in one of the phases.
func (p *pod) waitPhase(t *testing.T, phases ...string) object {
	t.Helper()
	var found object
	err := kubernetes.Until(t.Context(), time.Minute, func() (bool, error) {
		found = p.status(t)
		for _, phase := range phases {
			if text(found, "status", "phase") == phase {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		t.Fatalf("pod %s is not %v: %v\n%s", p.name, phases, at(found, "status"), tail("kubelet"))
	}
	return found
}

// said waits until the pod has ended, and returns its first container's last
// words.
func (p *pod) said(t *testing.T) string {
	t.Helper()
	ended := p.waitPhase(t, "Succeeded", "Failed")
	return text(list(ended, "status", "containerStatuses")[0], "state", "terminated", "message")
}

// log is what a container has printed so far.
func (p *pod) log(container string) string {
	var all strings.Builder
	files, _ := filepath.Glob(fmt.Sprintf("/var/log/pods/%s_%s_%s/%s/*.log", p.namespace, p.name, p.uid, container))
	for _, file := range files {
		printed, _ := os.ReadFile(file)
		for line := range strings.Lines(string(printed)) {
			if fields := strings.SplitN(line, " ", 4); len(fields) == 4 { // time, stream, whole or part, text
				all.WriteString(fields[3])
			}
		}
	}
	return all.String()
}

// waitLog waits until a container has printed something.
func (p *pod) waitLog(t *testing.T, container, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(p.log(container), want); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("pod %s never said %q:\n%s\n%v", p.name, want, p.log(container), at(p.status(t), "status"))
		}
	}
}

// session waits for the newest session of one of the pod's containers that has
// ended.
func (p *pod) session(t *testing.T, container string) underlab.Session {
	t.Helper()
	return node.lab.Newest(t, time.Time{}, func(s underlab.Session) bool {
		return s.Orch["pod"] == p.uid && s.Orch["name"] == container
	})
}
