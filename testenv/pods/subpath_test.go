package pods

import (
	"os"
	"testing"
)

// TestSubPathsOfAPodsOwnVolumesAreNoTaint mounts as runners of jobs do in
// Kubernetes: parts of one volume, under several names.
func TestSubPathsOfAPodsOwnVolumesAreNoTaint(t *testing.T) {
	s := withDir(withToken(spec(prober("main"))))
	s = withSubPath(s, "work", "_temp", "/temp")
	s = withSubPath(s, "work", `_work/an odd\name #1`, "/work")
	s = withSubPath(s, "sluice-token", "token", "/token-alone")
	p := run(t, "shop", "job-sub-paths", s)
	if got := p.said(t); got != "app" {
		t.Fatalf("the job got %q", got)
	}
	if s := p.session(t, "main"); s.Assurance != "A3" || s.Orch["taints"] != nil {
		t.Errorf("%s, %v", s.Assurance, s.Orch)
	}
}

// TestSocketBehindASubPathIsSeen has the kubelet bind the runtime's socket under
// a name that says nothing of it.
func TestSocketBehindASubPathIsSeen(t *testing.T) {
	s := withHostPath(withToken(spec(prober("main"))), "/run", "/host")
	first := listOf(s["containers"])[0]
	for _, mount := range listOf(first["volumeMounts"]) {
		if mount["name"] == "node" {
			mount["subPath"] = "containerd"
		}
	}
	p := run(t, "shop", "job-sub-path", s)
	if got := p.said(t); got != "app" {
		t.Fatalf("the job got %q", got)
	}
	if s := p.session(t, "main"); s.Assurance != "A2" || !tainted(s, "runtime-socket") || tainted(s, "untold") {
		t.Errorf("%s, %v", s.Assurance, s.Orch)
	}
}

// TestLinkThatAJobPlantedIsFollowedToWhereItLeads mounts a part of a volume that
// an earlier container has made a symbolic link, which the kubelet follows.
func TestLinkThatAJobPlantedIsFollowedToWhereItLeads(t *testing.T) {
	t.Cleanup(func() { _ = os.Remove("/run/containerd/cache") })
	for name, test := range map[string]struct {
		volume, target, assurance string
		change                    func(object) object
		tainted                   bool
	}{
		"job-link":        {volume: "work", target: ".", assurance: "A3", change: withDir},
		"job-link-socket": {volume: "node", target: "containerd.sock", assurance: "A2", change: hostPathVolume, tainted: true},
	} {
		main, planter := prober("main"), prober("planter", "-plant", "/host/cache="+test.target)
		planter["volumeMounts"] = []object{{"name": test.volume, "mountPath": "/host"}}
		s := test.change(withToken(spec(main)))
		s["initContainers"] = []object{planter}
		p := run(t, "shop", name, withSubPath(s, test.volume, "cache", "/cache"))
		if got := p.said(t); got != "app" {
			t.Fatalf("%s: the job got %q, the planter printed %s", name, got, p.log("planter"))
		}
		s2 := p.session(t, "main")
		if s2.Assurance != test.assurance || tainted(s2, "runtime-socket") != test.tainted || tainted(s2, "untold") {
			t.Errorf("%s: %s, %v", name, s2.Assurance, s2.Orch)
		}
	}
}

// hostPathVolume gives a pod the runtime's directory, of which it mounts nothing
// yet.
func hostPathVolume(s object) object {
	s["volumes"] = append(listOf(s["volumes"]), object{"name": "node", "hostPath": object{"path": "/run/containerd"}})
	return s
}
