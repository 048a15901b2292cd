package mysql_test

import (
	"bytes"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/mysql"
	"github.com/sluicegate/sluice/pkg/session"
)

// FuzzObserver lets peers say anything: each byte that is taken is passed on, in
// order, and what was asked about ends.
func FuzzObserver(f *testing.F) {
	login := bytes.Join([][]byte{{1}, bytesOf(f, `0 servers`), {0}, bytesOf(f, `1 answer "job" "shop"`), {1}, bytesOf(f, "2 ok")}, []byte("|"))
	f.Add(append(bytes.Clone(login), []byte("|\x00|\x09\x00\x00\x00\x03SELECT 1")...))
	f.Add([]byte("\x00|GET / HTTP/1.1\r\n\r\n|\x01|\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		m, err := fuzzed()
		if err != nil {
			t.Fatal(err)
		}
		d := &watched{conv: mysql.NewObserver(m, &protocol.Conn{
			Session: &session.Session{ID: "test"}, TLS: protocol.ServerTLS{Mode: protocol.TLSOff}, Masks: &mask.Set{}, Observe: true, Log: zap.NewNop(),
		})}
		leg := protocol.ClientLeg
		for i, part := range bytes.Split(script, []byte("|")) {
			if i%2 == 0 {
				leg = protocol.ClientLeg
				if len(part) > 0 && part[0] == 1 {
					leg = protocol.ServerLeg
				}
				continue
			}
			d.in[leg] = append(d.in[leg], part...)
			d.run()
		}
		for leg := range d.in {
			d.change(protocol.Leg(leg), protocol.Closed)
			d.run()
		}
		if !d.ended || d.open != 0 {
			t.Fatalf("ended %v, %d operations are open", d.ended, d.open)
		}
		for leg := range d.in {
			if len(d.in[leg]) != 0 {
				t.Fatalf("leg %d left %d bytes", leg, len(d.in[leg]))
			}
			if !bytes.Equal(d.taken[leg], d.sent[1-leg]) {
				t.Fatalf("leg %d: took %q, sent %q", leg, d.taken[leg], d.sent[1-leg])
			}
		}
	})
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
