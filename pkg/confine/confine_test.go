package confine_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/confine"
)

// nobody is a user that no test's files belong to.
const nobody = 64533

// parser runs this binary as a confined process that tries one thing, and
// returns how it ended and what it printed.
func parser(t *testing.T, attempt, arg string) (*os.ProcessState, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "parser", attempt, arg)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState, string(out)
}

// victim is a process of root's with a secret, for others to look into.
func victim(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.Env = []string{"SECRET=correct horse"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return strconv.Itoa(cmd.Process.Pid)
}

// TestBrokenParserReachesNothing is a proxy that a job took over.
func TestBrokenParserReachesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("giving up root takes root")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("correct horse"), 0o600); err != nil {
		t.Fatal(err)
	}
	engine := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", engine)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(engine, 0o666); err != nil {
		t.Fatal(err)
	}
	process := victim(t)
	for _, test := range []struct {
		attempt, arg string
		fatal        bool
	}{
		{attempt: "load a program", fatal: true},
		{attempt: "make a map", fatal: true},
		{attempt: "write into a map", fatal: true},
		{attempt: "open a pin", fatal: true},
		{attempt: "open a map by its number", fatal: true},
		{attempt: "detach a link", fatal: true},
		{attempt: "load a program by another name", fatal: true},
		{attempt: "enter a namespace", fatal: true},
		{attempt: "make a namespace", fatal: true},
		{attempt: "make a namespace with a process", fatal: true},
		{attempt: "trace", arg: process, fatal: true},
		{attempt: "read memory of", arg: process, fatal: true},
		{attempt: "mount", fatal: true},
		{attempt: "start a program", fatal: true},
		{attempt: "make a ring", fatal: true},
		{attempt: "make a process"},
		{attempt: "open", arg: "/proc/" + process + "/mem"},
		{attempt: "open", arg: "/proc/" + process + "/environ"},
		{attempt: "open", arg: "/proc/" + process + "/ns/net"},
		{attempt: "open", arg: "/proc/self/mem"},
		{attempt: "open", arg: secret},
		{attempt: "open", arg: "/etc/shadow"},
		{attempt: "connect to", arg: engine},
		{attempt: "send datagrams to", arg: engine},
		{attempt: "kill", arg: strconv.Itoa(os.Getpid())},
		{attempt: "kill a thread of", arg: strconv.Itoa(os.Getpid())},
		{attempt: "become root"},
		{attempt: "sniff"},
		{attempt: "loosen the filter"},
		{attempt: "let itself be traced"},
	} {
		t.Run(test.attempt+" "+filepath.Base(test.arg), func(t *testing.T) {
			state, out := parser(t, test.attempt, test.arg)
			status := state.Sys().(syscall.WaitStatus)
			killed := status.Signaled() && status.Signal() == unix.SIGSYS
			refused := status.ExitStatus() == 0 && strings.Contains(out, "REFUSED")
			if strings.Contains(out, "DONE") || killed != test.fatal || refused == test.fatal {
				t.Errorf("%s: %s", state, out)
			}
		})
	}
}

func TestHonestWorkGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	if err := confine.Own(dir, confine.User{UID: nobody, GID: nobody}); err != nil {
		t.Fatal(err)
	}
	if state, out := parser(t, "work", dir); !state.Success() {
		t.Errorf("%s: %s", state, out)
	}
}

func TestDirectoryOfSomebodyElseIsRefused(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "roots")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := confine.Own(dir, confine.User{UID: nobody, GID: nobody}); err != nil {
		t.Fatal(err)
	}
	if owner(t, dir) != nobody || owner(t, target) != 0 {
		t.Errorf("the directory belongs to %d, what a link in it leads to belongs to %d", owner(t, dir), owner(t, target))
	}
	if err := confine.Own(dir, confine.User{UID: nobody + 1, GID: nobody + 1}); err == nil {
		t.Error("a third user took it")
	}
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func TestRootIsNoUserToBecome(t *testing.T) {
	for _, name := range []string{"root", "0", "", "-1", "no-such-user"} {
		if got, err := confine.Lookup(name); err == nil {
			t.Errorf("%q is %+v", name, got)
		}
	}
	if got, err := confine.Lookup("64533"); err != nil || got.UID != nobody || got.GID != nobody {
		t.Errorf("%+v, %v", got, err)
	}
}
