package redirect_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// The main thread must never be one that a goroutine takes elsewhere: see the
// package comment.
func init() { runtime.LockOSThread() }

// roleVariable makes this test binary play a program instead of testing.
const roleVariable = "REDIRECT_TEST_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "agent":
		err = playAgent()
	case "client":
		err = playClient()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play prepares a command that runs this binary in a role.
func play(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// playAgent runs an agent until it is killed. Arguments: pins, port and the
// protected destinations. It says "running" when it is.
func playAgent() error {
	port, err := strconv.ParseUint(os.Args[2], 10, 16)
	if err != nil {
		return err
	}
	agent, err := redirect.Open(redirect.Config{Pins: os.Args[1], Port: uint16(port)}, zap.NewNop())
	if err != nil {
		return err
	}
	var ds []redirect.Destination
	for _, arg := range os.Args[3:] {
		at := netip.MustParseAddrPort(arg)
		ds = append(ds, redirect.Destination{
			Prefix: netip.PrefixFrom(at.Addr(), at.Addr().BitLen()), Port: at.Port(),
		})
	}
	if err := agent.Protect(ds); err != nil {
		return err
	}
	fmt.Println("running")
	return agent.Run(context.Background())
}

// playClient connects to its argument, says "connected" and waits for its
// standard input to end.
func playClient() error {
	conn, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		return err
	}
	fmt.Println("connected")
	_, _ = os.Stdin.Read(make([]byte, 1)) // its end is all that matters
	return conn.Close()
}
