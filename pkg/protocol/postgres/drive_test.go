package postgres_test

import (
	"fmt"
	"net/netip"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/postgres"
	"github.com/sluicegate/sluice/pkg/session"
)

// driver runs a conversation without a pump: it allows everything, and keeps
// what each leg is sent.
type driver struct {
	conv    protocol.Conversation
	actions []protocol.Action
	answers []protocol.Action
	paused  bool
	ended   bool
	keep    bool
	sent    [2][]byte
	open    int // operations that were asked about and are not done
}

func newDriver(t testing.TB, masks []mask.Column) *driver {
	t.Helper()
	p, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	return &driver{conv: postgres.NewConversation(p, &protocol.Conn{
		Session:    &session.Session{ID: "test", Resource: session.NewID(), Destination: netip.MustParseAddrPort("192.0.2.1:5432")},
		Credential: protocol.Credential{User: "app", Password: "secret"},
		TLS:        protocol.ServerTLS{Mode: protocol.TLSOff},
		Masks:      &mask.Set{Columns: masks},
		Log:        zap.NewNop(),
	})}
}

// feed gives bytes to a leg until the conversation takes no more, and returns
// what it left.
func (d *driver) feed(leg protocol.Leg, b []byte) []byte {
	for !d.ended && (leg == protocol.ServerLeg || !d.paused) {
		n, actions := d.conv.Feed(leg, b, d.actions[:0])
		d.actions = actions
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
func (d *driver) do(actions []protocol.Action) (again bool) {
	for _, a := range actions {
		switch a.Kind {
		case protocol.Write:
			if d.keep {
				d.sent[a.Leg] = append(d.sent[a.Leg], a.Bytes...)
			}
		case protocol.Ask:
			d.open++
			d.answers = d.conv.Decided(protocol.Decision{Effect: protocol.Allow}, nil, d.answers[:0])
			d.do(d.answers)
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

// bytesOf reads messages in words.
func bytesOf(t testing.TB, line string) []byte {
	t.Helper()
	m, err := message(line)
	if err != nil {
		t.Fatal(err)
	}
	return m.Bytes
}

// logIn brings a conversation to its first ReadyForQuery. rows answer what it
// asks about the catalog.
func (d *driver) logIn(t testing.TB, rows string) {
	t.Helper()
	d.feed(protocol.ClientLeg, bytesOf(t, `start i32:196608 "user" "job" "database" "shop" i8:0`))
	d.feed(protocol.ServerLeg, bytesOf(t, `R i32:0 + S "client_encoding" "UTF8" + S "standard_conforming_strings" "on" + K i32:7 i32:8 + Z i8:73`))
	d.feed(protocol.ServerLeg, bytesOf(t, standingAnswer+` + 3 + 3 + 1 + 2`+rows+` + C "SELECT 1" + 3 + 3 + Z i8:73`))
	if d.ended || d.paused {
		t.Fatal("the login did not end")
	}
}

// maskedCatalog has the table customers, oid 20000, whose third column is
// email.
const maskedCatalog = ` + D i16:4 i32:1 raw:"r" i32:5 raw:"20000" i32:6 raw:"public" i32:9 raw:"customers"` +
	` + D i16:4 i32:1 raw:"a" i32:5 raw:"20000" i32:1 raw:"3" i32:5 raw:"email"`
