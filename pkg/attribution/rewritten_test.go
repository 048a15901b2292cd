package attribution_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/attribution"
)

// TestRewrittenEnvironmentChangesNoFact has a process write another job's
// credential over its own, long after execve. That is what is read, since it is the
// process's memory; what binds a credential is not in reach of that.
func TestRewrittenEnvironmentChangesNoFact(t *testing.T) {
	root, id := cgroupRoot(t), freshID()
	origin := job(t, filepath.Join(root, id), "CI_JOB_TOKEN=mine", "GITHUB_REPOSITORY=acme/a")
	r := registry(t, attribution.Config{CgroupRoot: root})
	read := func(want string) {
		t.Helper()
		w, variables := r.WorkloadWith(t.Context(), origin, []string{"CI_JOB_TOKEN"})
		if got := variables.Value("CI_JOB_TOKEN"); got != want {
			t.Errorf("the variable is %q, want %q", got, want)
		}
		if w.Kernel.Container != id || w.Claimed.Env["CI_JOB_TOKEN"] != "" {
			t.Errorf("container %q, claims %v", w.Kernel.Container, w.Claimed.Env)
		}
	}
	read("mine")
	overwrite(t, int(origin.PID), "CI_JOB_TOKEN=hers")
	read("hers")
}

// overwrite changes the beginning of a process's environment.
func overwrite(t *testing.T, pid int, with string) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	const envStart = 50 // a field of proc(5), the first of which is 1
	at, err := strconv.ParseInt(strings.Fields(string(stat))[envStart-1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	if _, err := memory.WriteAt([]byte(with), at); err != nil {
		t.Fatal(err)
	}
}
