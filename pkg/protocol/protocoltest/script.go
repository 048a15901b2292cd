// Package protocoltest runs a protocol plug-in against scripts, and holds the
// list of what every plug-in promises.
//
// A script is a text: what it shows, then a line "-- script --", then one step
// a line. Messages are written in words that the plug-in's own test reads.
//
//	client> MESSAGE     the client sends
//	server< MESSAGE     the server must receive exactly this next
//	server> MESSAGE     the server sends
//	client< MESSAGE     the client must receive exactly this next
//	ask? KIND "TEXT"    an operation must be asked about
//	wait: N "REASON"    the guard says that approval N is waited for
//	decide: allow       or: decide: deny "RULE" "REASON", or: decide: allow 2 rows "RULE"
//	done? STATUS        an operation must have ended so; optionally: code "C", rows N
//	client close        the client closes its leg; likewise "server close"
//	end                 Serve must return without an error; "end violation" with a Violation
//
// What a script does not expect must not come.
package protocoltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// patience is how long a step may take.
const patience = 10 * time.Second

// Message is what one line stands for: bytes, and which of them may differ.
type Message struct {
	Bytes []byte
	Any   []bool // nil, or one per byte: this byte may be anything
}

// Plugin is a plug-in as its scripts need it.
type Plugin struct {
	New     func() (protocol.Protocol, error)
	Message func(line string) (Message, error)
	Conn    func(*protocol.Conn) // adds what the sessions of this plug-in need; may be nil
	Prelude string               // steps before the script's own, in whole messages
	Greets  string               // steps that come before a client has said anything
	Opens   []string             // names of Openings that are its own; empty: its own name
}

// RunScripts runs every script of a directory, with whole messages and again
// with every byte by itself.
func RunScripts(t *testing.T, dir string, p Plugin) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, script, ok := strings.Cut(string(text), "-- script --\n")
		if !ok {
			t.Fatalf("%s has no script", file)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		for split, size := range map[string]int{"whole": 0, "by bytes": 1, "by threes": 3} {
			t.Run(name+"/"+split, func(t *testing.T) { runScript(t, p, script, size) })
		}
	}
}

// runScript runs one script once, in pieces of size bytes.
func runScript(t *testing.T, p Plugin, script string, size int) {
	t.Helper()
	r := start(t, p)
	r.play(t, p.Prelude)
	r.size = size
	r.play(t, script)
	r.stop(t)
}

func (r *run) play(t *testing.T, script string) {
	t.Helper()
	for n, line := range strings.Split(script, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := r.step(line); err != nil {
			t.Fatalf("line %d: %s: %v", n+1, line, err)
		}
	}
}

// run is one session under test.
type run struct {
	plugin Plugin
	client net.Conn
	server net.Conn // nil until the plug-in dials
	dialed chan net.Conn
	guard  *Guard
	asked  *Asked
	size   int
	ended  chan error
	over   bool
	cancel context.CancelFunc
}

// start begins a session whose peers the test plays.
func start(t *testing.T, p Plugin) *run {
	t.Helper()
	plugin, err := p.New()
	if err != nil {
		t.Fatal(err)
	}
	near, far := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{
		plugin: p, client: near, dialed: make(chan net.Conn, 1), guard: NewGuard(),
		ended: make(chan error, 1), cancel: cancel,
	}
	conn := &protocol.Conn{
		Session: &session.Session{ID: "test", Resource: "resource", Destination: netip.MustParseAddrPort("192.0.2.1:1")},
		Client:  far,
		Dial: func(context.Context) (net.Conn, error) {
			ours, theirs := pair(t)
			r.dialed <- theirs
			return ours, nil
		},
		TLS:   protocol.ServerTLS{Mode: protocol.TLSOff},
		Guard: r.guard,
		Masks: &mask.Set{},
		Log:   zap.NewNop(),
	}
	if p.Conn != nil {
		p.Conn(conn)
	}
	go func() { r.ended <- plugin.Serve(ctx, conn) }()
	return r
}

// pair returns two ends of one TCP connection over loopback: unlike a pipe it
// has buffers and half-closes, as real legs do.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // one connection is all it was for
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			close(accepted)
			return
		}
		accepted <- conn
	}()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, ok := <-accepted
	if !ok {
		t.Fatal("the listener accepted nothing")
	}
	return a, b
}

// step does one line.
func (r *run) step(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "client>", "server>":
		return r.send(verb, rest)
	case "client<", "server<":
		return r.expect(verb, rest)
	case "ask?":
		return r.expectAsk(rest)
	case "wait:":
		return r.wait(rest)
	case "decide:":
		return r.decide(rest)
	case "done?":
		return r.expectDone(rest)
	case "client", "server":
		return r.hangUp(verb)
	case "end":
		return r.expectEnd(rest)
	}
	return fmt.Errorf("no such step")
}

func (r *run) leg(verb string) (net.Conn, error) {
	if strings.HasPrefix(verb, "client") {
		return r.client, nil
	}
	if r.server == nil {
		select {
		case r.server = <-r.dialed:
		case <-time.After(patience):
			return nil, errors.New("the server was not dialled")
		}
	}
	return r.server, nil
}

func (r *run) send(verb, rest string) error {
	conn, err := r.leg(verb)
	if err != nil {
		return err
	}
	m, err := r.plugin.Message(rest)
	if err != nil {
		return err
	}
	for b := m.Bytes; len(b) > 0; {
		n := len(b)
		if r.size > 0 {
			n = min(n, r.size)
		}
		if _, err := conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (r *run) expect(verb, rest string) error {
	conn, err := r.leg(verb)
	if err != nil {
		return err
	}
	m, err := r.plugin.Message(rest)
	if err != nil {
		return err
	}
	got := make([]byte, len(m.Bytes))
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	n := 0
	for n < len(got) {
		more, err := conn.Read(got[n:])
		n += more
		if err != nil {
			return fmt.Errorf("got %q, then %w; want %q", got[:n], err, m.Bytes)
		}
	}
	for i := range m.Any {
		if m.Any[i] {
			got[i] = m.Bytes[i]
		}
	}
	if !bytes.Equal(got, m.Bytes) {
		return fmt.Errorf("got  %q\nwant %q", got, m.Bytes)
	}
	return nil
}
