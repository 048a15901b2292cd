package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { runtime.LockOSThread() }

// TestMain runs the tests in a mount namespace of their own, so that bpffs and
// all that is pinned there go with them. The first argument makes this binary
// play a proxy instead.
func TestMain(m *testing.M) {
	role, what := "", ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	if len(os.Args) > 2 {
		what = os.Args[2]
	}
	var err error
	switch role {
	case "proxy":
		err = playProxy(what)
	case "dialler":
		err = playDialler(what)
	case "greeter":
		err = playGreeter(what)
	case "echo":
		err = playEcho()
	case "nothing":
	case "mute":
		err = unix.Pause()
	case "forger":
		err = playForger(what)
	case "tests":
		os.Args = append(os.Args[:1], os.Args[2:]...)
		os.Exit(m.Run())
	default:
		cmd := player("tests", os.Args[1:]...)
		cmd.Stdout = os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Unshareflags: syscall.CLONE_NEWNS}
		err = cmd.Run()
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		os.Exit(1)
	}
}

// player runs this binary in a role.
func player(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{role}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// playProxy relays what it is handed: whole files to the client, then its end.
func playProxy(what string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	records := RecordFiles()
	if what == "is handed connections" {
		var err error
		if records.Origins, err = os.Open(os.DevNull); err != nil {
			return err
		}
	}
	client, err := Attach(os.NewFile(Descriptor, "broker"), records, stop)
	if err != nil {
		return err
	}
	if _, err := client.Begin(ctx); err != nil {
		return err
	}
	if err := client.Ready(ctx, func(a *Accepted) { go relay(ctx, a) }); err != nil {
		return err
	}
	_ = client.Run(ctx) // it ends as it may
	return client.Close()
}

func relay(ctx context.Context, a *Accepted) {
	defer func() { _ = a.Close() }()
	server, err := a.Dial(ctx, a.Origin.Destination)
	if err != nil {
		return
	}
	if _, err := io.Copy(a.Conn, server); err == nil {
		_ = a.Conn.SetLinger(-1)
	}
	_ = server.Close()
}

// playForger says what no proxy says, and waits for its end.
func playForger(what string) error {
	l, err := attach(os.NewFile(Descriptor, "broker"))
	if err != nil {
		return err
	}
	hello := pack([]byte{byte(kindHello), 0, 0, 0, 0}, uint16(version))
	question := func(k kind, body ...byte) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte{byte(k)}, 7), body...)
	}
	packets := map[string][][]byte{
		"no hello":            {question(kindCounters)},
		"another version":     {pack([]byte{byte(kindHello), 0, 0, 0, 0}, uint16(version+1))},
		"a long hello":        {append(hello, 0)},
		"an unknown kind":     {hello, question(200)},
		"an answer":           {hello, question(kindAnswer, 1)},
		"a connection":        {hello, question(kindAccepted)},
		"a short packet":      {hello, {byte(kindCounters)}},
		"too long a packet":   {hello, make([]byte, maxPacket+1)},
		"an unasked question": {hello, append([]byte{byte(kindSocket), 0, 0, 0, 0}, 4, 1)},
		"a family":            {hello, question(kindSocket, 17, 1)},
		"no sockets":          {hello, question(kindSocket, 4, 0)},
		"too many sockets":    {hello, question(kindSocket, 4, socketsAtOnce+1)},
		"a table unheard of":  append([][]byte{hello}, told()...),
		"keeps listeners":     {hello, question(kindAble), question(kindReady, 1)},
		"half a probe":        {hello, question(kindProbed, 1, 2, 3)},
		"half a process":      {hello, question(kindProcess, 1, 2, 3)},
		"a path as id":        {hello, question(kindContainer, []byte("../../images/json")...)},
		"a path as digest":    {hello, question(kindImage, []byte("../containers/json")...)},
		"an id and no call":   {hello, question(kindPod, []byte(strings.Repeat("a", containerIDSize))...)},
		"mounts of somebody":  {hello, question(kindMounts, 1)},
		"no path":             {hello, question(kindOpen)},
		"a long path":         {hello, question(kindOpen, make([]byte, maxPath+1)...)},
		"a table":             {hello, question(kindTable, []byte("[]")...)},
		"ready twice":         {hello, question(kindReady, 1), question(kindReady, 1)},
		"ready for nothing":   {hello, question(kindReady, 2)},
		"able twice":          {hello, question(kindAble), question(kindAble)},
		"left unasked":        {hello, question(kindLeft, 1)},
		"ready for less":      {hello, question(kindReady, 0, 0, 0, 0)},
	}
	var control []byte
	switch what {
	case "a descriptor":
		control = unix.UnixRights(0)
		packets[what] = [][]byte{hello}
	case "a flood":
		packets[what] = append([][]byte{hello}, flood(question(kindCounters))...)
	}
	if kind, one := strings.CutPrefix(what, "kind "); one {
		packets[what] = append([][]byte{hello}, everyBody(kind)...)
	}
	for _, packet := range packets[what] {
		_ = l.conn.SetWriteDeadline(time.Now().Add(time.Minute))
		if _, _, err := l.conn.WriteMsgUnix(packet, control, nil); err != nil {
			break // it has hung up
		}
	}
	if what == "keeps listeners" {
		l.takeFiles(1)
		for {
			if said, err := l.receive(); err != nil || said.kind == kindStop {
				return nil
			}
		}
	}
	return unix.Pause() // to be killed
}

// everyBody is one kind of packet with bodies that might mean: protect nothing,
// less, another's.
func everyBody(number string) [][]byte {
	kind, _ := strconv.Atoi(number) // the test made it
	nothing, less := []byte("[]"), make([]byte, 20)
	another := pack([]byte{0, 128}, netip.MustParseAddr("2001:db8::1").As16(), uint16(5432))
	var all [][]byte
	for _, body := range [][]byte{nil, {0}, {1}, nothing, less, another, []byte("{}"), []byte("null")} {
		all = append(all, append(binary.LittleEndian.AppendUint32([]byte{byte(kind)}, 7), body...))
	}
	return all
}

// told says of tables that nobody sent that they are in force.
func told() (all [][]byte) {
	for number := range uint32(2 * maxUnheard) {
		all = append(all, binary.LittleEndian.AppendUint32([]byte{byte(kindTold)}, number))
	}
	return all
}

// flood is a question that is asked without end, whose answers nobody takes.
func flood(question []byte) [][]byte {
	all := make([][]byte, 100_000)
	for i := range all {
		all[i] = question
	}
	return all
}

// reset reports whether an error is what a reset connection gives.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || err != nil && strings.Contains(err.Error(), "reset")
}
