package attribution

import (
	"strings"
	"testing"
)

// v1 writes a list of cgroups as a host with cgroup v1 alone has it.
func v1(devices, memory, systemd string) []byte {
	return []byte("9:devices:" + devices + "\n4:memory:" + memory + "\n1:name=systemd:" + systemd + "\n0::/\n")
}

func TestHierarchiesNameTheBoundaryTheyAgreeOn(t *testing.T) {
	a, b := "/docker/"+idA, "/docker/"+idB
	const unit = "/system.slice/runner.service"
	for _, test := range []struct {
		name    string
		cgroups []byte
		want    string
	}{
		{"container", v1(a, a, a), a},
		{"cgroup made inside of it", v1(a+"/x", a, a+"/y/z"), a},
		{"unit, in the hierarchy that systemd always uses", v1("/system.slice", "/", unit), unit},
		{"moved in one hierarchy", v1(b, a, a), ""},
		{"moved in all but one", v1(b, b, a), ""},
		{"delegated subtree with a container's name in it", v1("/jobs"+a, "/", "/user.slice/user-1000.slice/session-1.scope"), ""},
		{"Podman's driver cgroupfs, which disagrees", v1("/libpod_parent/conmon/libpod_parent/libpod-"+idA, "/libpod_parent/conmon/libpod_parent/libpod-"+idA, "/libpod_parent/libpod-"+idA), ""},
		{"nobody", v1("/", "/", "/"), ""},
		{"controllers with a colon in the path", v1("/", "/", "/a:b/"+idA), "/a:b/" + idA},
		{"v2 has it", []byte("4:memory:" + b + "\n0::" + a + "\n"), a},
		{"v2 has it, outside of all containers", []byte("4:memory:" + b + "\n0::/batch\n"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := homeOf(test.cgroups)
			if err != nil || got.path != test.want {
				t.Errorf("got %q, %v; want %q", got.path, err, test.want)
			}
		})
	}
}

func TestListWithoutCgroupsIsAnError(t *testing.T) {
	for _, text := range []string{"", "\n", "0:", "nonsense\n", strings.Repeat(":", 1)} {
		if b, err := homeOf([]byte(text)); err == nil {
			t.Errorf("%q gives %+v", text, b)
		}
	}
}
