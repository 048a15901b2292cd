package redirect_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// whereV1IsAlone are the tests that run once more where no cgroup v2 is mounted:
// what does not depend on telling cgroups apart holds there unchanged.
var whereV1IsAlone = []string{
	"TestConnectionArrivesWithItsRecord", "TestFastOpenIsRedirected", "TestBoundSocketIsRedirected",
	"TestAgentReachesTheServerThatWorkloadsCannot", "TestUnprotectedPortOfTheSameHostIsUntouched",
	"TestFirstConnectionOfFreshNamespaceIsServed", "TestIPv6ThatComesLaterIsServed", "TestConnectionThroughForeignSocketIsServed",
	"TestNamespaceThatCannotBeFoundIsRefused", "TestNothingReachesProtectedDestinationAfterAgentClosed",
	"TestNothingReachesProtectedDestinationAfterAgentWasKilled", "TestDatagramsToProtectedDestinationAreRefused",
	"TestListenerCannotBeReachedDirectly", "TestListenersPortCannotBeBound", "TestStaleRecordIsNotBelieved",
	"TestNextAgentTakesOverWithoutAGap", "TestUninstallUnguards", "TestConnectionWithoutRecordIsReset",
	"TestSuccessorTakesOverAndNoConnectionFails", "TestAgentGoesOnWhenItsSuccessorFails", "TestProbeThatIsNotRedirectedIsNoticed",
}

func TestGuardsWhereCgroupV1IsAlone(t *testing.T) {
	all := append(slices.Clone(whereV1IsAlone), "TestV1AloneIsSaid")
	cmd, err := play("v1", "-test.v", "-test.run", "^("+strings.Join(all, "|")+")$")
	must(t, err)
	cmd.Env = append(os.Environ(), "V1=1")
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	out, err := cmd.Output()
	passed := strings.Count(string(out), "\n--- PASS")
	if err != nil || passed < len(all) {
		t.Errorf("%v, %d of %d passed\n%s", err, passed, len(all), out)
	}
}

// withoutCgroup2 unmounts it, for this process and its children.
func withoutCgroup2() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if field := strings.Fields(line); field[2] == "cgroup2" {
			if err := unix.Unmount(field[1], unix.MNT_DETACH); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestV1AloneIsSaid is of the process that has no cgroup v2.
func TestV1AloneIsSaid(t *testing.T) {
	alone := os.Getenv("V1") != ""
	for _, f := range redirect.Probe("") {
		if f.Required && !f.OK {
			t.Errorf("%s: %s", f.Name, f.Why)
		}
		if f.Name == "cgroups told apart" && f.OK == alone {
			t.Errorf("%s: %v %s", f.Name, f.OK, f.Why)
		}
	}
	pins := filepath.Join(t.TempDir(), "pins")
	closeLater(t, func() error { return redirect.Uninstall(pins) })
	agent, err := redirect.Open(redirect.Config{
		Pins: pins, Port: 15600, Exempt: []string{"/nobody.service"},
	}, zaptest.NewLogger(t))
	if err == nil {
		closeLater(t, agent.Close)
	}
	if (err != nil) != alone {
		t.Errorf("an exemption: %v", err)
	}
}

func TestOwnerIsReadFromV1WhereV2HasNobody(t *testing.T) {
	id, other := strings.Repeat("1a", 32), strings.Repeat("2b", 32)
	for _, test := range []struct{ name, cgroups, want string }{
		{"v2", "4:memory:/docker/" + other + "\n0::/docker/" + id + "/a\n", "/docker/" + id},
		{"v1", "9:devices:/\n4:memory:/docker/" + id + "/a\n0::/\n", "/docker/" + id},
		{"v1, and v2 was never mounted", "9:devices:/docker/" + id + "\n", "/docker/" + id},
		{"nobody", "9:devices:/\n0::/\n", "/"},
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte(test.cgroups), 0o600))
		if got, err := redirect.OwnerOf(dir); err != nil || got != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
}
