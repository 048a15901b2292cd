package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

// The protocol of docs/adding-a-protocol.md: the client sends "echo TEXT", the
// server answers with a line.

const opening = "echo "

type echo struct{}

func (echo) Info() protocol.Info { return protocol.Info{Name: "echo", Ports: []uint16{7}} }

func (echo) Recognize(prefix []byte) protocol.Match {
	n := min(len(prefix), len(opening))
	switch {
	case string(prefix[:n]) != opening[:n]:
		return protocol.No
	case n < len(opening):
		return protocol.NeedMore
	}
	return protocol.Yes
}

func (echo) Serve(ctx context.Context, conn *protocol.Conn) error {
	if conn.Observe {
		return protocol.RelayUnread(ctx, conn, "nobody reads echo", nil)
	}
	if conn.TLS.Mode != protocol.TLSOff || !conn.Masks.Empty() {
		return errors.New("echo has no TLS and no columns to mask")
	}
	const maxLine = 64 << 10
	return protocol.NewPump(conn, &echoing{}, maxLine).Run(ctx)
}

// echoing is one session: one operation at a time, from its line to its answer.
type echoing struct {
	line    []byte
	op      protocol.Pending
	dialled bool
	waiting bool // for the server's answer
}

func (c *echoing) Feed(from protocol.Leg, unread []byte, to []protocol.Action) (int, []protocol.Action) {
	end := bytes.IndexByte(unread, '\n') + 1
	if from == protocol.ServerLeg {
		return c.answer(unread[:end], len(unread), to)
	}
	if (echo{}).Recognize(unread) == protocol.No && len(unread) > 0 {
		violation := &protocol.Violation{Leg: from, Reason: "a line that is no echo"}
		return 0, append(to, protocol.Action{Kind: protocol.End, Err: violation})
	}
	if end == 0 {
		return 0, to // what is left comes again, with more behind it
	}
	c.line = append(c.line[:0], unread[:end]...)
	c.op = protocol.Pending{Operation: operation.Operation{
		Kind: operation.Call, Text: operation.Text(c.line[:end-1]), Bytes: c.line, Parsed: true,
	}}
	return end, append(to, protocol.Action{Kind: protocol.Ask, Op: &c.op})
}

func (c *echoing) Decided(answer protocol.Decision, err error, to []protocol.Action) []protocol.Action {
	switch {
	case err != nil:
		return c.refuse("it could not be decided", to)
	case answer.Effect != protocol.Allow:
		return c.refuse(fmt.Sprintf("by rule %q: %s", answer.Rule, answer.Reason), to)
	case !c.dialled:
		return append(to, protocol.Action{Kind: protocol.Dial})
	}
	return c.forward(to)
}

// refuse says no in the client's words. The session goes on.
func (c *echoing) refuse(why string, to []protocol.Action) []protocol.Action {
	c.op.Outcome.Status = protocol.Refused
	return append(to,
		protocol.Action{Kind: protocol.Write, Leg: protocol.ClientLeg, Bytes: []byte("refused " + why + "\n")},
		protocol.Action{Kind: protocol.Done, Op: &c.op})
}

// forward sends the line. The client is not read until the answer is there.
func (c *echoing) forward(to []protocol.Action) []protocol.Action {
	c.waiting = true
	return append(to,
		protocol.Action{Kind: protocol.Write, Leg: protocol.ServerLeg, Bytes: c.line},
		protocol.Action{Kind: protocol.Pause, Leg: protocol.ClientLeg})
}

// answer gives the server's line to the client; with Op it is recorded first.
func (c *echoing) answer(line []byte, unread int, to []protocol.Action) (int, []protocol.Action) {
	if !c.waiting && unread > 0 {
		violation := &protocol.Violation{Leg: protocol.ServerLeg, Reason: "an answer that nobody asked for"}
		return 0, append(to, protocol.Action{Kind: protocol.End, Err: violation})
	}
	if len(line) == 0 {
		return 0, to
	}
	c.waiting = false
	c.op.Outcome = protocol.Outcome{Status: protocol.OK, Rows: 1}
	return len(line), append(to,
		protocol.Action{Kind: protocol.Write, Leg: protocol.ClientLeg, Bytes: line, Op: &c.op},
		protocol.Action{Kind: protocol.Done, Op: &c.op},
		protocol.Action{Kind: protocol.Resume, Leg: protocol.ClientLeg})
}

func (c *echoing) Waiting(why protocol.Waiting, to []protocol.Action) []protocol.Action {
	note := fmt.Sprintf("waiting for approval %d: %s\n", why.Approval, why.Reason)
	return append(to, protocol.Action{Kind: protocol.Write, Leg: protocol.ClientLeg, Bytes: []byte(note)})
}

func (c *echoing) Changed(leg protocol.Leg, change protocol.Change, to []protocol.Action) []protocol.Action {
	switch {
	case change == protocol.Opened:
		c.dialled = true
		return c.forward(to)
	case change == protocol.Broken:
		return c.refuse("the server cannot be reached", to)
	case leg == protocol.ClientLeg && c.dialled:
		return append(to, protocol.Action{Kind: protocol.CloseWrite, Leg: protocol.ServerLeg})
	}
	return append(to, protocol.Action{Kind: protocol.End})
}

var scriptedEcho = protocoltest.Plugin{
	New: func() (protocol.Protocol, error) { return echo{}, nil },
	Message: func(line string) (protocoltest.Message, error) {
		text, err := strconv.Unquote(line)
		return protocoltest.Message{Bytes: []byte(text)}, err
	},
}

func TestEchoKeepsWhatEveryPluginPromises(t *testing.T) { protocoltest.Conform(t, scriptedEcho) }

func TestEchoConversations(t *testing.T) { protocoltest.RunScripts(t, "testdata/echo", scriptedEcho) }
