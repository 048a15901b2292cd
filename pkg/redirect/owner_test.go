package redirect_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/redirect"
)

func TestOwnerIsTheOutermostContainer(t *testing.T) {
	id, inner := strings.Repeat("1a", 32), strings.Repeat("2b", 32)
	for _, test := range []struct{ name, cgroup, want string }{
		{"docker", "/docker/" + id, "/docker/" + id},
		{"docker under systemd", "/system.slice/docker-" + id + ".scope", "/system.slice/docker-" + id + ".scope"},
		{"pod", "/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope/job", "/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope"},
		{"cgroup made inside", "/docker/" + id + "/a/b", "/docker/" + id},
		{"container inside", "/docker/" + id + "/docker/" + inner, "/docker/" + id},
		{"unit made to look like a container", "/docker/" + id + "/x.service", "/docker/" + id},
		{"unit", "/system.slice/runner.service/job-7", "/system.slice/runner.service"},
		{"host", "/", "/"},
		{"unknown", "/batch/7", "/batch/7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := redirect.Owner(test.cgroup); got != test.want {
				t.Errorf("owner = %s, want %s", got, test.want)
			}
		})
	}
}
