package postgres_test

import (
	"bytes"
	"testing"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// FuzzConversation lets hostile peers speak after a login: nothing may panic,
// and no operation may be left open once the session has ended. The first byte
// of each piece says which leg speaks and how long the piece is.
func FuzzConversation(f *testing.F) {
	piece := func(leg byte, line string) []byte {
		var out []byte
		for b := bytesOf(f, line); len(b) > 0; {
			n := min(len(b), 127)
			out = append(append(out, leg<<7|byte(n)), b[:n]...)
			b = b[n:]
		}
		return out
	}
	row := `D i16:1 i32:6 raw:"canary"`
	description := `T i16:1 "email" i32:20000 i16:3 i32:25 i16:-1 i32:-1 i16:0`
	f.Add(bytes.Join([][]byte{
		piece(0, `Q "SELECT email FROM customers"`), piece(1, `1 + t i16:0 + `+description+` + Z i8:73`),
		piece(1, description+` + `+row+` + C "SELECT 1" + Z i8:73`),
	}, nil))
	f.Add(bytes.Join([][]byte{
		piece(0, `P "" "SELECT email FROM customers" i16:0 + B "" "" i16:0 i16:0 i16:0 + E "" i32:0 + S`),
		piece(1, `1 + 2 + `+description), piece(1, row+` + C "SELECT 1" + Z i8:73`),
	}, nil))
	f.Add(bytes.Join([][]byte{
		piece(0, `P "" "SELECT 1" i16:0 + D raw:"S" "" + B "" "" i16:0 i16:0 i16:0 + D raw:"P" "" + E "" i32:1 + H`),
		piece(1, `1 + t i16:0 + `+description+` + 2 + `+description+` + `+row+` + s`), piece(0, `C raw:"P" "" + S`), piece(1, `3 + Z i8:84`),
	}, nil))
	f.Add(piece(1, `E raw:"C" "XX000" i8:0 + G i8:0 i16:0 + d raw:"x" + V i32:-1 + W i8:0 i16:0 + A i32:1 "a" "b"`))
	newDriver(f, nil) // loads the parser before the clock of the fuzzer runs
	f.Fuzz(func(t *testing.T, script []byte) {
		d := newDriver(t, customerMasks[:1])
		d.logIn(t, maskedCatalog)
		var rest [2][]byte
		for len(script) > 0 && !d.ended {
			leg, n := protocol.Leg(script[0]>>7), int(script[0]&0x7f)
			n = min(n, len(script)-1)
			rest[leg] = append(rest[leg], script[1:1+n]...)
			script = script[1+n:]
			rest[leg] = bytes.Clone(d.feed(leg, rest[leg]))
			if leg == protocol.ServerLeg {
				rest[0] = bytes.Clone(d.feed(protocol.ClientLeg, rest[0]))
			}
		}
		if d.ended {
			return // the pump ends what is open
		}
		d.do(d.conv.Changed(protocol.ClientLeg, protocol.Closed, nil))
		d.do(d.conv.Changed(protocol.ServerLeg, protocol.Closed, nil))
		if !d.ended || d.open != 0 {
			t.Fatalf("ended %v with %d operations open", d.ended, d.open)
		}
	})
}

// FuzzStartup lets anybody speak first, and the server answer anything.
func FuzzStartup(f *testing.F) {
	f.Add(bytesOf(f, `start i32:196608 "user" "job" i8:0`), bytesOf(f, `R i32:0 + K i32:1 i32:2 + Z i8:73`))
	f.Add(bytesOf(f, `start i32:80877103`), bytesOf(f, `R i32:10 "SCRAM-SHA-256" i8:0`))
	f.Add(bytesOf(f, `start i32:80877102 i32:1 i32:2`), bytesOf(f, `R i32:5 raw:"salt" + E raw:"C" "28P01" i8:0`))
	f.Add(bytesOf(f, `start i32:196608 "user" "job" i8:0`), bytesOf(f, `R i32:11 raw:"r=x,s=AAAA,i=4096" + R i32:12 raw:"v=AAAA"`))
	newDriver(f, nil) // loads the parser before the clock of the fuzzer runs
	f.Fuzz(func(t *testing.T, client, server []byte) {
		d := newDriver(t, nil)
		d.keep = true
		d.feed(protocol.ClientLeg, client)
		d.feed(protocol.ServerLeg, server)
		if bytes.Contains(d.sent[protocol.ClientLeg], []byte("secret")) || bytes.Contains(d.sent[protocol.ServerLeg], []byte("secret\x00")) {
			t.Fatal("the credential left in the clear")
		}
		p, err := plugin()
		if err != nil {
			t.Fatal(err)
		}
		for n := range min(len(client), 16) {
			p.Recognize(client[:n])
		}
	})
}
