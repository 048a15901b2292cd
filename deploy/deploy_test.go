// Package deploy_test proves what is shipped: that the programs accept their
// configurations, and that the manifests, units and images fit the programs.
package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/policy"
)

// object is what these tests read of a Kubernetes object.
type object struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Data     map[string]string
	Spec     struct {
		Replicas             int
		Template             struct{ Spec pod }
		VolumeClaimTemplates []struct{ Metadata struct{ Name string } } `yaml:"volumeClaimTemplates"`
	}
}

type pod struct {
	HostPID        bool        `yaml:"hostPID"`
	HostNetwork    bool        `yaml:"hostNetwork"`
	InitContainers []container `yaml:"initContainers"`
	Containers     []container
	Volumes        []struct {
		Name     string
		HostPath struct{ Path string } `yaml:"hostPath"`
	}
}

type container struct {
	Name            string
	Args            []string
	SecurityContext struct{ Privileged bool } `yaml:"securityContext"`
	VolumeMounts    []mount                   `yaml:"volumeMounts"`
}

type mount struct {
	Name             string
	MountPath        string `yaml:"mountPath"`
	MountPropagation string `yaml:"mountPropagation"`
}

// objects reads a manifest.
func objects(t *testing.T, file string) []object {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("kubernetes", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []object
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, o)
	}
}

// find returns the object of a kind and name.
func find(t *testing.T, file, kind, name string) object {
	t.Helper()
	for _, o := range objects(t, file) {
		if o.Kind == kind && o.Metadata.Name == name {
			return o
		}
	}
	t.Fatalf("%s has no %s %s", file, kind, name)
	return object{}
}

func TestProgramsAcceptTheirConfigurations(t *testing.T) {
	for key, text := range find(t, "agent.yaml", "ConfigMap", "sluice-agent").Data {
		cfg, err := config.Parse[config.Agent]("/etc/sluice/agent.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if key != cfg.Name+".yaml" {
			t.Errorf("the node of %s would be called %s", key, cfg.Name)
		}
	}
	for key, text := range find(t, "agent.yaml", "ConfigMap", "sluice-policy").Data {
		if _, err := policy.Parse(key, []byte(text)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	for key, text := range find(t, "collector.yaml", "ConfigMap", "sluice-collector").Data {
		if _, err := config.Parse[collector.Config](key, []byte(text)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestProgramsStayWhenTheAgentsPodDies guards against a fail-open manifest: a
// bpffs of the pod's own would let go of the programs together with the pod.
func TestProgramsStayWhenTheAgentsPodDies(t *testing.T) {
	agent := find(t, "agent.yaml", "DaemonSet", "sluice-agent").Spec.Template.Spec
	if !agent.HostPID || !agent.HostNetwork {
		t.Error("the agent is not in the host's pid and network namespaces")
	}
	main := agent.Containers[0]
	if !main.SecurityContext.Privileged {
		t.Error("a container that is not privileged gets no Bidirectional mount")
	}
	for _, want := range []mount{
		{"bpf", "/sys/fs/bpf", "Bidirectional"},
		{"pods", "/var/lib/kubelet/pods", "HostToContainer"},
		{"runtime", "/run/containerd", "HostToContainer"},
		{"cgroup", "/sys/fs/cgroup", ""},
		{"state", "/var/lib/sluice-agent", ""},
	} {
		if !contains(main.VolumeMounts, want) {
			t.Errorf("there is no mount %+v", want)
		}
		found := false
		for _, volume := range agent.Volumes {
			found = found || volume.Name == want.Name && volume.HostPath.Path == want.MountPath
		}
		if !found {
			t.Errorf("volume %s is not the host's %s", want.Name, want.MountPath)
		}
	}
}

func contains(mounts []mount, want mount) bool {
	for _, m := range mounts {
		if m == want {
			return true
		}
	}
	return false
}

func TestEveryFileOfAConfigurationIsMounted(t *testing.T) {
	for _, workload := range []struct{ file, kind, name, configMap string }{
		{"agent.yaml", "DaemonSet", "sluice-agent", "sluice-agent"},
		{"agent.yaml", "DaemonSet", "sluice-agent", "sluice-policy"},
		{"collector.yaml", "StatefulSet", "sluice-collector", "sluice-collector"},
	} {
		spec := find(t, workload.file, workload.kind, workload.name).Spec
		volumes := map[string]bool{}
		for _, v := range spec.Template.Spec.Volumes {
			volumes[v.Name] = true
		}
		for _, claim := range spec.VolumeClaimTemplates {
			volumes[claim.Metadata.Name] = true
		}
		main := spec.Template.Spec.Containers[0]
		for _, m := range main.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s mounts %s, which is no volume", workload.name, m.Name)
			}
		}
		for key, text := range find(t, workload.file, "ConfigMap", workload.configMap).Data {
			for _, path := range filePaths.FindAllStringSubmatch(text, -1) {
				if !mounted(main.VolumeMounts, path[1]) {
					t.Errorf("%s of %s names %s, which is not mounted", key, workload.configMap, path[1])
				}
			}
		}
	}
}

// filePaths are the values of keys that name files and directories.
var filePaths = regexp.MustCompile(`(?m)_(?:file|dir): ([^\s}]*/[^\s]*[^\s}])`)

func mounted(mounts []mount, path string) bool {
	if !filepath.IsAbs(path) {
		path = filepath.Join("/etc/sluice", path)
	}
	for _, m := range mounts {
		if path == m.MountPath || strings.HasPrefix(path, m.MountPath+"/") {
			return true
		}
	}
	return false
}

func TestThereIsOneCollector(t *testing.T) {
	if n := find(t, "collector.yaml", "StatefulSet", "sluice-collector").Spec.Replicas; n != 1 {
		t.Errorf("%d replicas would share a log", n)
	}
}

func TestImagesHoldWhatMakeBuildMakes(t *testing.T) {
	files, err := filepath.Glob("image/*.Dockerfile")
	if err != nil || len(files) != 2 {
		t.Fatalf("images: %v %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		copied := regexp.MustCompile(`(?m)^COPY (\S+) (\S+)$`).FindSubmatch(text)
		if copied == nil {
			t.Fatalf("%s copies nothing", file)
		}
		if _, err := os.Stat(filepath.Join("../cmd", string(copied[1]), "main.go")); err != nil {
			t.Errorf("%s copies %s, which is not built: %v", file, copied[1], err)
		}
		if !bytes.Contains(text, []byte(`ENTRYPOINT ["`+string(copied[2])+`"]`)) {
			t.Errorf("%s does not start %s", file, copied[2])
		}
	}
}

// unit returns the settings of a unit file.
func unit(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("systemd", file))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	return settings
}

// TestJobsWaitForProtection holds the pieces together which keep a node that
// is not guarded from running jobs after a reboot.
func TestJobsWaitForProtection(t *testing.T) {
	agent, docker := unit(t, "sluice-agent.service"), unit(t, "docker.service.d/sluice.conf")
	marker := docker["AssertPathExists"]
	if marker == "" || agent["ExecStartPost"] != "/usr/bin/touch "+marker {
		t.Errorf("docker waits for %q, and the agent's unit does %q", marker, agent["ExecStartPost"])
	}
	if agent["Type"] != "notify" || !strings.Contains(agent["Before"], "docker.service") {
		t.Error("docker would start together with the agent")
	}
	if filepath.Dir(marker) != "/run/"+agent["RuntimeDirectory"] || agent["RuntimeDirectoryPreserve"] != "yes" {
		t.Errorf("%s does not live as long as the programs", marker)
	}
	if agent["AssertPathIsMountPoint"] != "/sys/fs/bpf" {
		t.Error("the agent may mount a bpffs that ends with its unit")
	}
}

// TestUnitsCapabilitiesSuffice runs the agent's own probe with what its unit
// leaves it.
func TestUnitsCapabilitiesSuffice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("probing the kernel takes root")
	}
	program := filepath.Join(t.TempDir(), "sluice-agent")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/sluice-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	bounding := "-all"
	for _, capability := range strings.Fields(unit(t, "sluice-agent.service")["CapabilityBoundingSet"]) {
		bounding += ",+" + strings.ToLower(strings.TrimPrefix(capability, "CAP_"))
	}
	probe := exec.CommandContext(t.Context(), "setpriv", "--bounding-set="+bounding, "--no-new-privs", program, "doctor")
	if out, err := probe.CombinedOutput(); err != nil {
		t.Errorf("with %s: %v\n%s", bounding, err, out)
	}
	poor := exec.CommandContext(t.Context(), "setpriv", "--bounding-set=-all", "--no-new-privs", program, "doctor")
	if out, err := poor.CombinedOutput(); err == nil {
		t.Errorf("without any capability:\n%s", out)
	}
}
