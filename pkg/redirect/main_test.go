package redirect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// The main thread must never be one that a goroutine takes elsewhere: see the
// package comment.
func init() { runtime.LockOSThread() }

// TestMain runs the tests in a mount namespace of their own: should they be
// killed, bpffs goes with them, and with it every pinned program. The first
// argument makes this binary play another program instead.
func TestMain(m *testing.M) {
	role := ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	var err error
	switch role {
	case "agent":
		err = playAgent()
	case "client":
		err = playClient()
	case "descend":
		err = playDescendant(os.Args[2], os.Args[3], os.Args[4])
	case "features":
		err = showMissing(os.Stdout)
	case "v1":
		err = withoutCgroup2()
		if err != nil {
			break
		}
		fallthrough
	case "tests":
		os.Args = append(os.Args[:1], os.Args[2:]...)
		os.Exit(runAll(m))
	default:
		err = runTests()
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(1) // and the tests have said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runTests() error {
	cmd, err := play("tests", os.Args[1:]...)
	if err != nil {
		return err
	}
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	return cmd.Run()
}

// errUnsupported means that Open would fail on this kernel.
var errUnsupported = errors.New("this kernel lacks what interception needs")

// showMissing prints what this kernel lacks, for scripts/kernels.
func showMissing(out io.Writer) error {
	var unsupported error
	for _, f := range redirect.Probe("") {
		if f.OK {
			continue
		}
		need := "optional"
		if f.Required {
			need, unsupported = "required", errUnsupported
		}
		if _, err := fmt.Fprintf(out, "== %s %s\n", need, f.Name); err != nil {
			return err
		}
	}
	return unsupported
}

// play prepares a command that runs this binary in a role.
func play(role string, args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, append([]string{role}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive the tests
	return cmd, nil
}

// playAgent runs an agent until it is killed. Arguments: pins, port and the
// protected destinations. It says "running" when it is.
func playAgent() error {
	port, err := strconv.ParseUint(os.Args[3], 10, 16)
	if err != nil {
		return err
	}
	agent, err := redirect.Open(redirect.Config{Pins: os.Args[2], Port: uint16(port)}, zap.NewNop())
	if err != nil {
		return err
	}
	var ds []redirect.Destination
	for _, arg := range os.Args[4:] {
		at := netip.MustParseAddrPort(arg)
		ds = append(ds, redirect.Destination{
			Prefix: netip.PrefixFrom(at.Addr(), at.Addr().BitLen()), Port: at.Port(),
		})
	}
	if err := agent.Protect(ds); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "running"); err != nil {
		return err
	}
	return agent.Run(context.Background())
}

// playClient connects to its argument, says "connected" and waits for its
// standard input to end.
func playClient() error {
	conn, err := net.Dial("tcp", os.Args[2])
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "connected"); err != nil {
		return err
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // its end is all that matters
	return conn.Close()
}
