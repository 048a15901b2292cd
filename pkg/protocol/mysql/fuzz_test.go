package mysql_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/mysql"
	"github.com/sluicegate/sluice/pkg/session"
)

// driven is a conversation without a pump. Who drives it allows everything, and
// keeps what each leg is sent.
type driven struct {
	conv   protocol.Conversation
	paused bool
	ended  bool
	sent   [2][]byte
	open   int // operations that were asked about and are not done
}

// fuzzed is shared by all runs: it is dear to make.
var fuzzed = sync.OnceValues(func() (*mysql.MySQL, error) { return mysql.New(mysql.Options{}) })

func newDriven(t testing.TB) *driven {
	t.Helper()
	m, err := fuzzed()
	if err != nil {
		t.Fatal(err)
	}
	return &driven{conv: mysql.NewConversation(m, &protocol.Conn{
		Session:    &session.Session{ID: "test", Resource: "resource", Destination: netip.MustParseAddrPort("192.0.2.1:3306")},
		Credential: protocol.Credential{User: "app", Password: "secret"},
		TLS:        protocol.ServerTLS{Mode: protocol.TLSOff},
		Masks:      &scriptedMasks,
		Log:        zap.NewNop(),
	})}
}

// feed gives bytes to a leg until the conversation takes no more, and returns
// what it left.
func (d *driven) feed(leg protocol.Leg, b []byte) []byte {
	for !d.ended && (leg == protocol.ServerLeg || !d.paused) {
		n, actions := d.conv.Feed(leg, b, nil)
		if n < 0 || n > len(b) {
			panic(fmt.Sprintf("%d bytes of %d were consumed", n, len(b)))
		}
		b = b[n:]
		if !d.do(actions) {
			return b
		}
	}
	return b
}

// do performs actions and reports whether the leg is to be fed again.
func (d *driven) do(actions []protocol.Action) (again bool) {
	for _, a := range actions {
		switch a.Kind {
		case protocol.Write:
			if len(d.sent[a.Leg]) < 1<<20 {
				d.sent[a.Leg] = append(d.sent[a.Leg], a.Bytes...)
			}
		case protocol.Ask:
			d.open++
			d.do(d.conv.Decided(protocol.Decision{Effect: protocol.Allow}, nil, nil))
			again = true
		case protocol.Done:
			d.open--
		case protocol.Dial:
			d.do(d.conv.Changed(protocol.ServerLeg, protocol.Opened, nil))
			again = true
		case protocol.Slow:
			again = true
		case protocol.Pause:
			d.paused = true
		case protocol.Resume:
			d.paused = false
		case protocol.End:
			d.ended = true
			return false
		}
	}
	return again
}

func bytesOf(t testing.TB, line string) []byte {
	t.Helper()
	m, err := message(line)
	if err != nil {
		t.Fatal(err)
	}
	return m.Bytes
}

// logIn brings a conversation to its first command.
func (d *driven) logIn(t testing.TB) {
	t.Helper()
	d.feed(protocol.ClientLeg, nil)
	d.feed(protocol.ClientLeg, bytesOf(t, `1 answer "job" "shop"`))
	d.feed(protocol.ServerLeg, bytesOf(t, `0 servers`))
	d.feed(protocol.ServerLeg, bytesOf(t, `2 ok`))
	d.feed(protocol.ServerLeg, bytesOf(t, `standing-is ""`))
	if d.ended || d.paused {
		t.Fatal("the login did not end")
	}
}

// FuzzConversation lets hostile peers speak after a login: nothing may panic,
// no operation may be left open once the session has ended, and what a masked
// column holds does not arrive. The first byte of each piece says which leg
// speaks and how long the piece is.
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
	result := `1 i8:1 + 2 column customers customers email email + 3 eof + 4 l"canary@example.com" + 5 eof`
	f.Add(bytes.Join([][]byte{piece(0, `0 i8:3 "SELECT email FROM customers"`), piece(1, `relation-is`), piece(1, result)}, nil))
	f.Add(bytes.Join([][]byte{
		piece(0, `0 i8:22 "SELECT email FROM customers WHERE id = ?"`),
		piece(1, `1 i8:0 i32:1 i16:1 i16:1 i8:0 i16:0 + 2 column x x x x + 3 eof + 4 column customers customers email email + 5 eof`),
		piece(0, `0 i8:24 i32:1 i16:0 "long" + 0 i8:23 i32:1 i8:1 i32:1 i8:0 i8:1 i16:253 l"x"`), piece(1, `relation-is`),
		piece(1, `1 i8:1 + 2 column customers customers email email + 3 i8:254 i16:0 i16:66`),
		piece(0, `0 i8:28 i32:1 i32:5`), piece(1, `4 i8:0 i8:0 l"canary@example.com" + 5 eof`), piece(0, `0 i8:26 i32:1 + 0 i8:25 i32:1`),
	}, nil))
	f.Add(bytes.Join([][]byte{piece(0, `0 i8:4 z"customers" + 0 i8:9 + 0 i8:12 i32:5 + 0 i8:31 + 0 i8:17 "x"`), piece(1, `1 ok + 1 eof`)}, nil))
	f.Add(bytes.Join([][]byte{piece(0, `0 i8:3 "SET sql_mode = ''; SELECT 1"`), piece(1, `1 i8:0 i8:0 i8:0 i16:10 i16:0 + 2 i8:255 i16:1064 "#42000x"`)}, nil))
	f.Fuzz(func(t *testing.T, script []byte) {
		d := newDriven(t)
		d.logIn(t)
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

// FuzzLogin lets anybody answer our greeting, and the server say anything.
func FuzzLogin(f *testing.F) {
	f.Add(bytesOf(f, `1 answer "job" "shop"`), bytesOf(f, `0 servers + 2 ok`))
	f.Add(bytesOf(f, `1 answer "job" "shop"`), bytesOf(f, `0 servers + 2 i8:254 z"caching_sha2_password" "abcdefghijklmnopqrst" i8:0 + 4 i8:1 i8:4`))
	f.Add(bytesOf(f, `1 answer "job" "shop"`), bytesOf(f, `0 servers + 2 i8:254 z"client_ed25519" "abcdefghijklmnopqrstabcdefghijklmnopqrst"`))
	f.Add(bytesOf(f, `1 i32:2048 i32:0 i8:0 "`+"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"+`"`), bytesOf(f, `0 i8:255 i16:1040 "x"`))
	f.Fuzz(func(t *testing.T, client, server []byte) {
		d := newDriven(t)
		d.feed(protocol.ClientLeg, nil)
		d.feed(protocol.ClientLeg, client)
		d.feed(protocol.ServerLeg, server)
		for _, sent := range d.sent {
			if bytes.Contains(sent, []byte("secret")) {
				t.Fatal("the credential left in the clear")
			}
		}
		m, err := fuzzed()
		if err != nil {
			t.Fatal(err)
		}
		for n := range min(len(client), 16) {
			m.Recognize(client[:n])
		}
	})
}
