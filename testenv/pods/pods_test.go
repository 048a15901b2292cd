package pods

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/testenv/underlab"
)

func TestPodIsServedAndKnown(t *testing.T) {
	p := run(t, "shop", "job-known", spec(prober("main")))
	if got := p.said(t); got != "app" {
		t.Fatalf("the job got %q", got)
	}
	s := p.session(t, "main")
	for key, want := range map[string]string{"source": "cri", "pod_name": "job-known", "namespace": "shop", "image": proberImage} {
		if s.Orch[key] != want {
			t.Errorf("orch.%s is %v, want %s", key, s.Orch[key], want)
		}
	}
	if labels, _ := s.Orch["labels"].(object); labels["buildkite.com/job-uuid"] != "job-known" {
		t.Errorf("labels are %v", s.Orch["labels"])
	}
	container := list(p.status(t), "status", "containerStatuses")[0]
	if want := "containerd://" + fmt.Sprint(s.Kernel["container"]); text(container, "containerID") != want {
		t.Errorf("the container is %v, want %s", s.Kernel["container"], want)
	}
	if s.Assurance != "A2" || s.Orch["taints"] != nil || s.Agent["kind"] != "pipeline" {
		t.Errorf("%s with taints %v, agent %v", s.Assurance, s.Orch["taints"], s.Agent)
	}
}

func TestPodIsVerifiedByItsProjectedToken(t *testing.T) {
	p := run(t, "shop", "job-token", withToken(spec(prober("main"))))
	if got := p.said(t); got != "app" {
		t.Fatalf("the job got %q", got)
	}
	s := p.session(t, "main")
	claims, _ := s.Verified["kubernetes.io"].(object)
	if s.Assurance != "A3" || text(claims, "pod", "uid") != p.uid || text(claims, "namespace") != "shop" ||
		text(claims, "node", "name") != nodeName || text(claims, "serviceaccount", "name") != "default" {
		t.Errorf("%s, verified %v", s.Assurance, s.Verified)
	}
}

func TestEachContainerOfAPodIsKnown(t *testing.T) {
	s := spec(prober("one"), prober("two"))
	sidecar := prober("sidecar", "-every", "100ms")
	sidecar["restartPolicy"] = "Always"
	s["initContainers"] = []object{prober("init"), sidecar}
	p := run(t, "shop", "job-many", s)
	if got := p.said(t); got != "app" {
		t.Fatalf("the job got %q", got)
	}
	for _, name := range []string{"init", "sidecar", "one", "two"} {
		if s := p.session(t, name); s.Orch["pod_name"] != "job-many" || s.Assurance != "A2" {
			t.Errorf("%s: %s, %v", name, s.Assurance, s.Orch)
		}
	}
}

// TestContainerThatIsAddedToAPodIsKnown adds one as kubectl debug does, which
// puts it beside the first one's processes.
func TestContainerThatIsAddedToAPodIsKnown(t *testing.T) {
	p := run(t, "shop", "job-debugged", spec(prober("main", "-every", "100ms")))
	p.waitLog(t, "main", "app")
	found := p.status(t)
	added := prober("debugger")
	added["targetContainerName"] = "main"
	found["spec"].(object)["ephemeralContainers"] = []object{added}
	if _, err := node.api.Call(t.Context(), http.MethodPut, p.path()+"/ephemeralcontainers", found); err != nil {
		t.Fatal(err)
	}
	if s := p.session(t, "debugger"); s.Orch["pod_name"] != "job-debugged" || s.Assurance != "A2" || s.Orch["taints"] != nil {
		t.Errorf("%s, %v", s.Assurance, s.Orch)
	}
}

func TestPodOnTheNodesNetworkIsKnownAndTainted(t *testing.T) {
	s := spec(prober("main"))
	s["hostNetwork"] = true
	p := run(t, "shop", "job-host", s)
	if got := p.said(t); got != "app" {
		t.Fatalf("the job got %q", got)
	}
	if s := p.session(t, "main"); s.Orch["pod_name"] != "job-host" || !tainted(s, "host-network") {
		t.Errorf("%s, %v", s.Assurance, s.Orch)
	}
}

func TestPrivilegedPodIsTaintedAndItsTokenDoesNotCount(t *testing.T) {
	main := prober("main")
	main["securityContext"] = object{"privileged": true}
	p := run(t, "shop", "job-privileged", withToken(spec(main)))
	if got := p.said(t); !strings.Contains(got, "Privileged pods do not ask the database.") {
		t.Errorf("the job got %q", got)
	}
	if s := p.session(t, "main"); s.Assurance != "A2" || !tainted(s, "privileged") || len(s.Verified) != 0 {
		t.Errorf("%s, %v, verified %v", s.Assurance, s.Orch, s.Verified)
	}
}

// TestContainerBesideAPrivilegedOneIsTainted has the shape of a runner with a
// Docker daemon in its pod.
func TestContainerBesideAPrivilegedOneIsTainted(t *testing.T) {
	daemon := prober("daemon")
	daemon["securityContext"] = object{"privileged": true}
	p := run(t, "shop", "job-dind", withToken(spec(prober("main"), daemon)))
	p.waitLog(t, "main", "app")
	if s := p.session(t, "main"); s.Assurance != "A2" || !tainted(s, "beside-privileged") || len(s.Verified) != 0 {
		t.Errorf("%s, %v, verified %v", s.Assurance, s.Orch, s.Verified)
	}
}

func TestPodWithTheRuntimesSocketIsTainted(t *testing.T) {
	p := run(t, "shop", "job-socket", withHostPath(withToken(spec(prober("main"))), "/run/containerd", "/host"))
	if got := p.said(t); got != "app" {
		t.Fatalf("the job got %q", got)
	}
	if s := p.session(t, "main"); s.Assurance != "A2" || !tainted(s, "runtime-socket") {
		t.Errorf("%s, %v", s.Assurance, s.Orch)
	}
}

func tainted(s underlab.Session, want string) bool {
	taints, _ := s.Orch["taints"].([]any)
	return slices.Contains(taints, any(want))
}

func TestDeletedPodsSessionEnds(t *testing.T) {
	p := run(t, "shop", "job-deleted", spec(prober("main", "-every", "100ms")))
	p.waitLog(t, "main", "app")
	began := time.Now()
	p.remove(t)
	if s := p.session(t, "main"); s.Ended.Before(began.Add(-time.Second)) || s.Operations == 0 {
		t.Errorf("the session ended at %v, the pod was deleted at %v", s.Ended, began)
	}
}

// TestPodCannotPassForAnother has everything in common with the victim that a
// pod's author chooses.
func TestPodCannotPassForAnother(t *testing.T) {
	orders := []string{"-query", "SELECT 'orders: ' || count(*) FROM orders"}
	victim := run(t, "shop", "job-victim", spec(prober("main", append(orders, "-every", "100ms")...)))
	victim.waitLog(t, "main", "orders: ")

	s := spec(prober("main", orders...))
	s["hostname"] = "job-victim"
	twin := run(t, "elsewhere", "job-victim", s)
	if got := twin.said(t); !strings.Contains(got, "Ask from the shop's namespace.") {
		t.Errorf("the twin got %q", got)
	}
	if s := twin.session(t, "main"); s.Orch["namespace"] != "elsewhere" {
		t.Errorf("the twin is %v", s.Orch)
	}
}

// TestPodInALookAlikeOfAnothersCgroupIsNobody writes to the cgroup file system:
// a directory of the victim's pod, in which the runtime has no container.
func TestPodInALookAlikeOfAnothersCgroupIsNobody(t *testing.T) {
	victim := run(t, "shop", "job-victim", withToken(spec(prober("main", "-every", "100ms"))))
	victim.waitLog(t, "main", "app")
	forged := fmt.Sprintf("/host/kubepods/besteffort/pod%s/%s", victim.uid, strings.Repeat("ab", 32))
	forger := run(t, "elsewhere", "forger",
		withHostPath(spec(prober("main", "-pretend", forged)), cgroupRoot()+node.tree, "/host"))
	forger.said(t)
	if printed := forger.log("main"); !strings.Contains(printed, "pretend: <nil>") {
		t.Fatalf("the forger printed %s", printed)
	}
	s := node.lab.Newest(t, time.Time{}, func(s underlab.Session) bool {
		return s.Kernel["container"] == strings.Repeat("ab", 32)
	})
	if s.Assurance != "A1" || s.Orch["pod_name"] != nil || len(s.Verified) != 0 || !tainted(s, "untold") {
		t.Errorf("%s, %v, verified %v", s.Assurance, s.Orch, s.Verified)
	}
}

// TestFirstInstructionOfEveryPodIsServed runs pods one after the other.
func TestFirstInstructionOfEveryPodIsServed(t *testing.T) {
	const pods = 30
	began := time.Now()
	for i := range pods {
		p := run(t, "shop", fmt.Sprintf("job-first-%d", i), spec(prober("main")))
		if got := p.said(t); got != "app" {
			t.Errorf("pod %d got %q", i, got)
		}
	}
	t.Logf("%d pods in %v", pods, time.Since(began).Round(time.Second))
	known := map[any]bool{}
	underlab.Within(t, 30*time.Second, "every pod is known", func() bool {
		for _, s := range node.lab.Sessions(t, 2*pods) {
			if name, _ := s.Orch["pod_name"].(string); strings.HasPrefix(name, "job-first-") {
				known[name] = true
			}
		}
		return len(known) == pods
	})
}

func TestPodsGoOnAfterTheAgentWasRestarted(t *testing.T) {
	p := run(t, "shop", "job-goes-on", spec(prober("main", "-every", "100ms", "-report")))
	p.waitLog(t, "main", "app")
	node.lab.Do(t, "kill", "agent")
	p.waitLog(t, "main", "refused")
	before := strings.Count(p.log("main"), "app")
	node.lab.Do(t, "start", "agent")
	underlab.Within(t, time.Minute, "the pod is served again", func() bool { return strings.Count(p.log("main"), "app") > before })
	p.remove(t)
	if s := p.session(t, "main"); s.Orch["pod_name"] != "job-goes-on" || s.Assurance != "A2" {
		t.Errorf("%s, %v", s.Assurance, s.Orch)
	}
}

// TestPodsAreServedWhileTheRuntimeIsAway says less of them, and that it is less:
// their tokens do not count.
func TestPodsAreServedWhileTheRuntimeIsAway(t *testing.T) {
	p := run(t, "shop", "job-reconnects", withToken(spec(prober("main", "-report"))))
	p.waitLog(t, "main", "app")
	become := func(level string, known bool) {
		t.Helper()
		underlab.Within(t, 30*time.Second, "its sessions are "+level, func() bool {
			newest := node.lab.Sessions(t, 1)[0]
			return newest.Orch["pod"] == p.uid && newest.Assurance == level && (newest.Orch["pod_name"] != nil) == known && tainted(newest, "untold") != known
		})
	}
	become("A3", true)
	if err := node.runtime.Stop(); err != nil {
		t.Fatal(err)
	}
	become("A1", false)
	if err := node.runtime.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	become("A3", true)
}

// TestKubeletsProbesAreExempt has the kubelet, which is no job, connect to a pod
// and to the database itself.
func TestKubeletsProbesAreExempt(t *testing.T) {
	main := prober("main", "-every", "100ms", "-listen", ":8080")
	main["livenessProbe"] = object{"tcpSocket": object{"port": 8080}, "periodSeconds": 1, "failureThreshold": 3}
	main["readinessProbe"] = object{"tcpSocket": object{"host": node.server, "port": 5432}, "periodSeconds": 1}
	p := run(t, "shop", "job-probed", spec(main))
	underlab.Within(t, time.Minute, "both probes succeed", func() bool {
		statuses := list(p.status(t), "status", "containerStatuses")
		return len(statuses) == 1 && statuses[0]["ready"] == true && statuses[0]["restartCount"] == 0.0
	})
	underlab.Within(t, time.Minute, "the alert is a finding", func() bool {
		return strings.Contains(node.lab.Ctl(t, "findings"), "alert-exempt_connection")
	})
}
