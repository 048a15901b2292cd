package protocol

import (
	"net"
	"testing"
)

func TestWhatGoesBeforeADecisionLeavesWithIt(t *testing.T) {
	ours, peer := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), peer.Close() })
	p := NewPump(&Conn{}, nil, 0)
	w := newWire(ours, serverBuffer)
	p.wires[ServerLeg] = w

	w.batch = [][]byte{[]byte("parse "), []byte("bind ")}
	if claims := p.claim(true); claims[ServerLeg].wire != nil {
		t.Fatalf("%q leaves before the decision", claims[ServerLeg].direct)
	}
	w.batch = [][]byte{[]byte("execute")}
	if got := string(p.claim(false)[ServerLeg].direct); got != "parse bind execute" {
		t.Errorf("%q leaves with the decision", got)
	}
}

func TestMuchBeforeADecisionDoesNotWait(t *testing.T) {
	ours, peer := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), peer.Close() })
	p := NewPump(&Conn{}, nil, 0)
	p.wires[ServerLeg] = newWire(ours, serverBuffer)
	p.wires[ServerLeg].batch = [][]byte{make([]byte, maxHeld+1)}
	if got := len(p.claim(true)[ServerLeg].direct); got != maxHeld+1 {
		t.Errorf("%d bytes leave", got)
	}
}
