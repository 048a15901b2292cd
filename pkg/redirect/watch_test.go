package redirect_test

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// As a container runtime does it: the cgroup first, in it a process that is
// still in the host's network namespace, and then a namespace of its own.
func TestNamespaceOfNewCgroupIsEnrolledBeforeItConnects(t *testing.T) {
	l := newLab(t)
	_, err := dialFrom(t, l.job, "tcp4", l.server4) // served: so the agent watches by now
	must(t, err)
	l.accept(t)
	held := l.counter(t, "connect_held")

	cgroup, err := netlab.NewCgroup("redirect")
	must(t, err)
	closeLater(t, cgroup.Close)
	cmd := exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
	cgroup.Enter(cmd)
	start(t, cmd, cmd.Start, "up")
	container, err := netlab.Of(cmd.Process.Pid)
	must(t, err)
	closeLater(t, container.Close)

	cookie, err := unix.GetsockoptUint64(socketIn(t, container, unix.AF_INET, unix.SOCK_STREAM, 0),
		unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	must(t, err)
	known := l.knows(t, cookie)
	eventually(t, "the namespace is enrolled", known)
	_, err = dialFrom(t, container, "tcp4", l.server4)
	must(t, err)
	l.accept(t)
	if got := l.counter(t, "connect_held"); got != held {
		t.Errorf("connect_held = %d, want %d: the connection was held all the same", got, held)
	}
}
