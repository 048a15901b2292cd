package protocoltest

import (
	"bytes"
	"testing"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// Pieces has two peers say what a script has, through a conversation in mode
// observe, and checks that all of it is passed on, in order, and that what was
// asked about ends. Pieces of the script, between strokes, are by turns who speaks
// (the server if it begins with a byte of 1) and what is said.
func Pieces(t *testing.T, conv protocol.Conversation, script []byte) {
	t.Helper()
	w := &watched{conv: conv}
	leg := protocol.ClientLeg
	for i, part := range bytes.Split(script, []byte("|")) {
		if i%2 == 0 {
			leg = protocol.ClientLeg
			if len(part) > 0 && part[0] == 1 {
				leg = protocol.ServerLeg
			}
			continue
		}
		w.in[leg] = append(w.in[leg], part...)
		w.run()
	}
	for leg := range w.in {
		w.change(protocol.Leg(leg), protocol.Closed)
		w.run()
	}
	if !w.ended || w.open != 0 {
		t.Fatalf("ended %v, %d operations are open", w.ended, w.open)
	}
	for leg := range w.in {
		if len(w.in[leg]) != 0 {
			t.Fatalf("leg %d left %d bytes", leg, len(w.in[leg]))
		}
		if !bytes.Equal(w.taken[leg], w.sent[1-leg]) {
			t.Fatalf("leg %d: took %q, sent %q", leg, w.taken[leg], w.sent[1-leg])
		}
	}
}

// watched drives a conversation as the pump does, whose guard allows all.
type watched struct {
	conv   protocol.Conversation
	in     [2][]byte // not taken yet
	taken  [2][]byte
	sent   [2][]byte
	again  [2]bool
	paused [2]bool
	dialed bool
	ended  bool
	open   int
}

// run feeds both legs until nothing moves.
func (w *watched) run() {
	w.again = [2]bool{true, true}
	for moved := true; moved && !w.ended; {
		moved = false
		for leg := range w.in {
			if w.paused[leg] || !w.again[leg] || leg == int(protocol.ServerLeg) && !w.dialed {
				continue
			}
			moved, w.again[leg] = true, false
			n, actions := w.conv.Feed(protocol.Leg(leg), w.in[leg], nil)
			w.taken[leg] = append(w.taken[leg], w.in[leg][:n]...)
			w.in[leg] = w.in[leg][n:]
			w.do(protocol.Leg(leg), actions)
		}
	}
}

func (w *watched) change(leg protocol.Leg, change protocol.Change) {
	if !w.ended {
		w.do(leg, w.conv.Changed(leg, change, nil))
	}
}

func (w *watched) do(by protocol.Leg, actions []protocol.Action) {
	for _, a := range actions {
		switch a.Kind {
		case protocol.Write:
			w.sent[a.Leg] = append(w.sent[a.Leg], a.Bytes...)
		case protocol.Ask:
			w.open++
			w.again[protocol.ClientLeg] = true
			w.do(protocol.ClientLeg, w.conv.Decided(protocol.Decision{Effect: protocol.Allow}, nil, nil))
		case protocol.Done:
			w.open--
		case protocol.Dial:
			w.dialed, w.again = true, [2]bool{true, true}
			w.change(protocol.ServerLeg, protocol.Opened)
		case protocol.Slow:
			w.again[by] = true
		case protocol.Pause:
			w.paused[a.Leg], w.again[a.Leg] = true, true
		case protocol.Resume:
			w.paused[a.Leg] = false
		case protocol.End:
			w.ended = true
		}
	}
}
