package attribution

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/workload"
)

// taintsOf decodes a part of an answer of the Engine and returns its taints.
func taintsOf(t *testing.T, answer string) []string {
	t.Helper()
	var record inspection
	if err := json.Unmarshal([]byte(answer), &record); err != nil {
		t.Fatal(err)
	}
	return record.facts(Docker, []string{"/srv/docker/engine.sock"}, nil).Taints
}

func TestTaintsOfContainer(t *testing.T) {
	mount := func(source string, writable bool) string {
		return fmt.Sprintf(`{"Mounts":[{"Type":"bind","Source":%q,"RW":%t}]}`, source, writable)
	}
	tests := []struct {
		name, answer string
		want         []string
	}{
		{"plain", `{"HostConfig":{"NetworkMode":"default","CapAdd":null,"SecurityOpt":null}}`, nil},
		{"privileged", `{"HostConfig":{"Privileged":true,"SecurityOpt":["label=disable"]}}`, []string{workload.TaintPrivileged, workload.TaintUnconfined}},
		{"host pid", `{"HostConfig":{"PidMode":"host"}}`, []string{workload.TaintHostPID}},
		{"another container's pids", `{"HostConfig":{"PidMode":"container:x"}}`, []string{workload.TaintHostPID}},
		{"capability", `{"HostConfig":{"CapAdd":["NET_RAW","CAP_SYS_ADMIN"]}}`, []string{workload.TaintCapability}},
		{"lower case", `{"HostConfig":{"CapAdd":["all"]}}`, []string{workload.TaintCapability}},
		{"harmless capability", `{"HostConfig":{"CapAdd":["NET_RAW"]}}`, nil},
		{"old spelling of an option", `{"HostConfig":{"SecurityOpt":["seccomp:unconfined"]}}`, []string{workload.TaintUnconfined}},
		{"socket, read-only", mount("/var/run/docker.sock", false), []string{workload.TaintRuntimeSocket}},
		{"directory of the socket", mount("/run/", false), []string{workload.TaintRuntimeSocket}},
		{"this engine's socket", mount("/srv/docker/engine.sock", false), []string{workload.TaintRuntimeSocket}},
		{"a user's sockets", mount("/run/user/1000/podman/podman.sock", false), []string{workload.TaintRuntimeSocket}},
		{"root, read-only", mount("/", false), []string{workload.TaintRuntimeSocket}},
		{"below a system directory", mount("/etc/cron.d", true), []string{workload.TaintHostPath}},
		{"above one", mount("/var/lib", true), []string{workload.TaintHostPath}},
		{"dotted path", mount("/home/../etc", true), []string{workload.TaintHostPath}},
		{"read-only system directory", mount("/etc/ssl", false), nil},
		{"volume", mount("/var/lib/docker/volumes/cache/_data", true), nil},
		{"volume of Podman's", mount("/var/lib/containers/storage/volumes/cache/_data", true), nil},
		{"all of Podman's", mount("/var/lib/containers/storage", true), []string{workload.TaintHostPath}},
		{"work directory", mount("/home/runner/_work", true), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, taintsOf(t, test.answer)); diff != "" {
				t.Errorf("taints (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTooManyLabelsAreAllLeftOut(t *testing.T) {
	many := map[string]string{}
	for i := range maxLabels + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for name, labels := range map[string]map[string]string{
		"too many": many,
		"too long": {"a": strings.Repeat("x", maxLabelBytes), "b": "kept?"},
	} {
		record := inspection{}
		record.Config.Labels = labels
		facts := record.facts(Docker, nil, nil)
		if facts.Labels != nil || len(facts.Taints) == 0 || facts.Taints[len(facts.Taints)-1] != workload.TaintLabels {
			t.Errorf("%s: %d labels, taints %v", name, len(facts.Labels), facts.Taints)
		}
	}
}
