package attribution_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sluicegate/sluice/pkg/workload"
)

const (
	allPods = "/var/lib/kubelet/pods/"
	volumes = allPods + podUID + "/volumes/"
	boundAt = allPods + podUID + "/volume-subpaths/scratch/main/0"
	another = allPods + "00000000-0000-4000-8000-000000000000/"

	// nodeList is the list of an ordinary node's mounts: / and /data of disks, with
	// a tmpfs at /run, and the mounts of two pods.
	nodeList = `21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:2 - proc proc rw
23 21 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:3 - sysfs sysfs rw
24 23 0:23 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw
25 21 0:24 / /run rw,nosuid,nodev shared:5 - tmpfs tmpfs rw,size=1642272k,mode=755
26 21 8:16 / /data rw,relatime - ext4 /dev/sdb rw
27 21 8:1 /srv/exported\040by\134us /mnt/bound rw,relatime shared:1 - ext4 /dev/sda1 rw
31 21 0:41 / ` + volumes + `kubernetes.io~projected/token rw,relatime shared:31 - tmpfs tmpfs rw,size=64k
32 21 8:32 / /var/lib/kubelet/plugins/kubernetes.io/csi/disk.example.com/5f/globalmount rw,relatime shared:32 - xfs /dev/sdc rw
33 21 8:32 / ` + volumes + `kubernetes.io~csi/pvc-1/mount rw,relatime shared:32 - xfs /dev/sdc rw
34 21 0:42 / ` + another + `volumes/kubernetes.io~projected/token rw,relatime shared:34 - tmpfs tmpfs rw,size=64k
35 21 8:1 /etc ` + another + `volume-subpaths/etc/main/0 rw,relatime shared:1 - ext4 /dev/sda1 rw
36 21 0:43 / ` + volumes + `kubernetes.io~nfs/share rw,relatime shared:36 - nfs4 files.example.com:/jobs rw,vers=4.2
`
)

// bind is the entry that the kubelet's bind of root makes.
func bind(device, root, kind string) string {
	return fmt.Sprintf("90 21 %s %s %s rw,relatime shared:1 master:7 propagate_from:2 - %s none rw\n", device, root, boundAt, kind)
}

// taintsOf are those of a container whose one mount is a sub-path.
func taintsOf(t testing.TB, list string, readonly bool) []string {
	t.Helper()
	a := crio()
	a.container.Status.Mounts = []*cri.Mount{{HostPath: boundAt, ContainerPath: "/there", Readonly: readonly}}
	a.mounts = list
	return a.ask(t).Orch.Taints
}

func TestWhatIsBehindASubPathIsJudged(t *testing.T) {
	socket, path := workload.TaintRuntimeSocket, workload.TaintHostPath
	for name, test := range map[string]struct {
		list string
		want []string
	}{
		"a directory of the pod's": {list: bind("8:1", volumes+"kubernetes.io~empty-dir/scratch/_temp", "ext4")},
		"odd names in it":          {list: bind("8:1", volumes+`kubernetes.io~empty-dir/scratch/a\040b\134c\011d\012e`, "ext4")},
		"a name like one deleted":  {list: bind("8:1", volumes+"kubernetes.io~empty-dir/scratch/x/deleted", "ext4")},
		"a token":                  {list: bind("0:41", "/..2026_11_29_23_53_52.1/token", "tmpfs")},
		"a token that was renewed": {list: bind("0:41", "/..2026_11_29_23_53_52.1/token//deleted", "tmpfs")},
		"a disk that is staged":    {list: bind("8:32", "/_work", "xfs")},
		"its own share":            {list: bind("0:43", "/", "nfs4")},
		"a path of the node's":     {list: bind("8:16", "/cache", "ext4")},
		"a bind of the node's":     {list: bind("8:1", `/srv/exported\040by\134us/x`, "ext4")},
		"the runtime's socket":     {list: bind("0:24", "/containerd/containerd.sock", "tmpfs"), want: []string{socket, path}},
		"its directory":            {list: bind("0:24", "/crio", "tmpfs"), want: []string{socket, path}},
		"one above it":             {list: bind("0:24", "/", "tmpfs"), want: []string{socket, path}},
		"the whole disk":           {list: bind("8:1", "/", "ext4"), want: []string{socket, path}},
		"a system directory":       {list: bind("8:1", "/etc", "ext4"), want: []string{path}},
		"by another name, too":     {list: "37 21 8:16 /libs /usr/local rw - ext4 /dev/sdb rw\n" + bind("8:16", "/libs/x", "ext4"), want: []string{path}},
		"with one in it":           {list: "37 21 8:16 /a/b/libs /usr/local rw - ext4 /dev/sdb rw\n" + bind("8:16", "/a", "ext4"), want: []string{path}},
		"the kernel's settings":    {list: bind("0:21", "/sys", "proc"), want: []string{path}},
		"another pod's volume":     {list: bind("8:1", another+"volumes/kubernetes.io~empty-dir/scratch", "ext4"), want: []string{path}},
		"another pod's token":      {list: bind("0:42", "/", "tmpfs"), want: []string{path}},
		"all of the pod's own":     {list: bind("8:1", strings.TrimSuffix(allPods+podUID, "/"), "ext4"), want: []string{path}},
		"a name that begins alike": {list: bind("8:1", allPods+podUID+"/volumes-of/x", "ext4"), want: []string{path}},
		"the pod's path elsewhere": {list: bind("0:24", "/x"+volumes+"work", "tmpfs"), want: []string{path}},
	} {
		if got := taintsOf(t, nodeList+test.list, false); !slices.Equal(sorted(got), sorted(test.want)) {
			t.Errorf("%s: taints %v, want %v", name, got, test.want)
		}
	}
	if got := taintsOf(t, nodeList+bind("8:1", "/etc", "ext4"), true); len(got) > 0 {
		t.Errorf("to read only: taints %v", got)
	}
	if got := taintsOf(t, nodeList+bind("0:24", "/containerd", "tmpfs"), true); !slices.Equal(got, []string{socket}) {
		t.Errorf("the socket, to read only: taints %v", got)
	}
	shared := strings.Replace(bind("8:1", volumes+"kubernetes.io~empty-dir/scratch", "ext4"), "90 21", "91 38", 1)
	bindOfItself := "38 21 8:1 /var/lib/kubelet /var/lib/kubelet rw shared:1 - ext4 /dev/sda1 rw\n"
	if got := taintsOf(t, nodeList+bindOfItself+bind("8:1", volumes+"kubernetes.io~empty-dir/scratch", "ext4")+shared, false); len(got) > 0 {
		t.Errorf("listed once for each of two shared mounts: taints %v", got)
	}
}

func TestWhatCannotBeToldBehindASubPathIsUntold(t *testing.T) {
	ours := bind("8:1", volumes+"kubernetes.io~empty-dir/scratch", "ext4")
	for name, list := range map[string]string{
		"there is no list":          "",
		"it is not in it":           nodeList,
		"the disk is not in it":     nodeList + bind("8:99", "/x", "ext4"),
		"no name covers it":         strings.Replace(nodeList, "8:16 / /data", "8:16 /part /data", 1) + bind("8:16", "/cache", "ext4"),
		"only another sub-path":     strings.Replace(nodeList, "8:1 / / ", "8:7 / / ", 1) + bind("8:1", "/etc", "ext4"),
		"it was deleted":            nodeList + bind("8:1", volumes+"kubernetes.io~empty-dir/scratch/x//deleted", "ext4"),
		"another's token, renewed":  nodeList + bind("0:42", "/..1/token//deleted", "tmpfs"),
		"a share that others have":  strings.Replace(nodeList, "8:16 / /data rw,relatime - ext4", "0:43 / /data rw,relatime - nfs4", 1) + bind("0:43", "/", "nfs4"),
		"a cgroup":                  nodeList + bind("0:23", "/", "cgroup2"),
		"a root with steps back":    nodeList + bind("8:16", "/../x", "ext4"),
		"a root that is no path":    nodeList + bind("0:4", "net:[4026531840]", "nsfs"),
		"two things lie there":      nodeList + ours + bind("8:16", "/cache", "ext4"),
		"something lies in it":      nodeList + ours + "92 90 0:24 / " + boundAt + "/x rw - tmpfs tmpfs rw\n",
		"its directory is hidden":   nodeList + ours + "92 21 0:90 / /var/lib/kubelet rw - tmpfs tmpfs rw\n",
		"one above that is hidden":  nodeList + "38 21 8:1 /var/lib/kubelet /var/lib/kubelet rw - ext4 /dev/sda1 rw\n92 21 0:90 / /var rw - tmpfs tmpfs rw\n" + strings.Replace(ours, "90 21", "90 38", 1),
		"a line is short":           nodeList + ours + "93 21 8:16 / /x rw\n",
		"a line has no end":         nodeList + strings.TrimSuffix(ours, "\n"),
		"a line has no file system": nodeList + ours + "93 21 8:16 / /x rw shared:1 shared:2 shared:3 shared:4\n",
	} {
		if got := taintsOf(t, list, false); !slices.Equal(got, []string{workload.TaintUntold}) {
			t.Errorf("%s: taints %v, want %s", name, got, workload.TaintUntold)
		}
	}
}

// TestSubPathBelowALinkIsLookedUpWhereItLeads has a kubelet whose directory is a
// symbolic link: the runtime's record has both paths, the list of mounts one.
func TestSubPathBelowALinkIsLookedUpWhereItLeads(t *testing.T) {
	a := crio()
	there := strings.Replace(boundAt, "/var/lib", "/data", 1)
	a.container.Status.Mounts = []*cri.Mount{{HostPath: boundAt, ContainerPath: "/there"}}
	a.container.Info["info"] = strings.Replace(a.container.Info["info"], `"mounts":[`, `"mounts":[{"destination":"/there","source":"`+there+`"},`, 1)
	a.mounts = nodeList + strings.Replace(strings.ReplaceAll(bind("8:16", volumes+"kubernetes.io~empty-dir/scratch", "ext4"), "/var/lib/kubelet", "/kubelet"), " /kubelet/pods/"+podUID+"/volume-sub", " /data/kubelet/pods/"+podUID+"/volume-sub", 1)
	a.mounts = strings.Replace(a.mounts, "90 21", "90 26", 1)
	if got := a.ask(t).Orch.Taints; len(got) > 0 {
		t.Errorf("taints %v", got)
	}
}

// BenchmarkListOfManyMounts has some four megabytes of them, the most that is
// read. An answer may take half a second.
func BenchmarkListOfManyMounts(b *testing.B) {
	var list strings.Builder
	list.WriteString(nodeList + bind("8:1", volumes+"kubernetes.io~empty-dir/scratch", "ext4"))
	for i := 100; list.Len() < 4<<20-400; i++ {
		fmt.Fprintf(&list, "%d 21 0:%d / %svolumes/kubernetes.io~projected/token-%d rw,relatime shared:31 - tmpfs tmpfs rw,size=64k\n", i, i, another, i)
	}
	b.SetBytes(int64(list.Len()))
	for b.Loop() {
		if got := taintsOf(b, list.String(), false); len(got) > 0 {
			b.Fatalf("taints %v", got)
		}
	}
}
