package bypass

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicegate/sluice/pkg/workload"
	"github.com/sluicegate/sluice/testenv/netlab"
)

// nobody is the user of the unit.
const nobody = 65534

// newUnit starts the attacker on the node itself, as a user of no name, two
// cgroups below one that is named as systemd names a unit's. systemd is not
// needed for that: all that is known of a unit comes from the kernel.
func (w *world) newUnit(t *testing.T, unit string) *job {
	t.Helper()
	parent, err := netlab.NewCgroup("bypass")
	must(t, err)
	t.Cleanup(func() { must(t, parent.Close()) })
	own := filepath.Join(parent.Path, unit, "worker")
	must(t, os.MkdirAll(own, 0o755))
	t.Cleanup(func() { must(t, errors.Join(os.Remove(own), os.Remove(filepath.Dir(own)))) })
	cgroup, err := os.Open(own)
	must(t, err)
	t.Cleanup(func() { must(t, cgroup.Close()) })

	// The capability is to reach the program.
	cmd := exec.Command("setpriv", "--reuid", strconv.Itoa(nobody), "--clear-groups", "--inh-caps", "+dac_read_search",
		"--ambient-caps", "+dac_read_search", "--", filepath.Join(w.dir, "bin", "attacker"), "serve")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close() // the attacker ends with its input
		must(t, cmd.Wait())
	})
	return &job{world: w, name: unit, onNode: true, in: in, out: bufio.NewReader(out)}
}

// TestUnitOfTheHostIsNamed connects from a process that is in no container. Its
// unit is above the cgroup that it made itself.
func TestUnitOfTheHostIsNamed(t *testing.T) {
	const unit = "actions-runner.service"
	j := lab.newUnit(t, unit)
	var s seen
	before := lab.look(t)
	who := lab.agent.workload(func() { s = j.try(t, "tcp", lab.target()) })
	o := lab.outcome(t, before, s)
	o.judge(t, lab, "unit", row{name: "tcp", stops: hooks(redirected)})
	if who.Assurance != workload.Kernel || who.Kernel.UID != nobody || who.Kernel.Container != "" {
		t.Errorf("level %v, user %d, container %q", who.Assurance, who.Kernel.UID, who.Kernel.Container)
	}
	if !strings.HasSuffix(who.Kernel.CgroupPath, "/"+unit+"/worker") || !strings.HasSuffix(who.Kernel.Exe, "/attacker") {
		t.Errorf("%s in %s", who.Kernel.Exe, who.Kernel.CgroupPath)
	}
}
