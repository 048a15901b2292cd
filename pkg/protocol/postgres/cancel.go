package postgres

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// key is one session's place in the keyring: the cancel key that its client
// was given, and the server's own, which no client ever sees.
type key struct {
	given     string // 8 bytes, or 36 where the client's version takes long ones
	long      bool   // the client's version does
	real      []byte
	server    netip.AddrPort
	resource  string
	workload  uint64      // the netns that the client was given it in
	interrupt func() bool // ends a wait for a decision; false if there is none
}

// keyring holds the cancel keys of all sessions of one plug-in.
type keyring struct {
	mu   sync.Mutex
	keys map[string]*key // by what was given; guarded by mu
}

func newKeyring() *keyring { return &keyring{keys: make(map[string]*key)} }

// add gives a session a fresh key.
func (k *keyring) add(session *key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	given := make([]byte, 8)
	if session.long {
		given = make([]byte, 36)
	}
	for {
		_, _ = rand.Read(given) // never fails: crypto/rand ends the program instead
		given[0] &= 0x7f        // a process id is not negative
		session.given = string(given)
		if _, taken := k.keys[session.given]; !taken {
			k.keys[session.given] = session
			return
		}
	}
}

// remove forgets a session's key.
func (k *keyring) remove(session *key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys[session.given] == session {
		delete(k.keys, session.given)
	}
}

// find returns the session that a key was given to, if the one that now shows
// it is of the same workload and asked for the same server.
func (k *keyring) find(shown []byte, conn *protocol.Conn) *key {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := k.keys[string(shown)]
	if found == nil || found.server != conn.Session.Destination || (conn.Choose == nil && found.resource != conn.Session.Resource) ||
		found.workload != conn.Session.Workload.Kernel.NetnsCookie {
		return nil
	}
	return found
}

// replaceKey keeps the server's cancel key and gives the client one of ours.
func (c *conversation) replaceKey(body []byte) {
	if len(body) < 8 || len(body) > 4+256 {
		c.violate(protocol.ServerLeg, errMalformed)
		return
	}
	c.key.real = append([]byte(nil), body...)
	c.key.server = c.conn.Session.Destination
	c.key.resource = c.conn.Session.Resource
	c.key.workload = c.conn.Session.Workload.Kernel.NetnsCookie
	c.plugin.keys.add(&c.key)
	c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
		dst, mark := open(dst, msgBackendKeyData)
		return shut(append(dst, c.key.given...), mark)
	})
}

// cancel asks for the one thing that a session which begins with a
// CancelRequest wants.
func (c *conversation) cancel(body []byte) {
	c.target = c.plugin.keys.find(body, c.conn)
	switch {
	case c.conn.Choose == nil:
		c.askCancel()
	case c.target == nil:
		c.act(protocol.Action{Kind: protocol.End}) // whose it would be nobody can say
	default:
		c.choose(protocol.Start{Resource: c.target.resource})
	}
}

// askCancel asks whether it may be.
func (c *conversation) askCancel() {
	o := c.newOp(operation.Cancel)
	o.Operation.Parsed = c.target != nil
	o.Operation.ReadOnly = true
	c.phase = cancelling
	c.front = front{op: o}
	c.act(protocol.Action{Kind: protocol.Ask, Op: &o.Pending})
}

// cancelDecided withdraws what waits for a person, or dials the server to pass
// the request on with the real key. A key that nobody was given is dropped.
func (c *conversation) cancelDecided(answer protocol.Decision) {
	switch {
	case answer.Effect != protocol.Allow || c.target == nil:
		c.endLogin(protocol.Outcome{Status: protocol.Refused})
	case c.target.interrupt():
		c.endLogin(protocol.Outcome{Status: protocol.OK})
	default:
		c.act(protocol.Action{Kind: protocol.Dial})
	}
}

// sendCancel passes the request on. The server answers by closing.
func (c *conversation) sendCancel() {
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst = binary.BigEndian.AppendUint32(dst, uint32(8+len(c.target.real)))
		dst = binary.BigEndian.AppendUint32(dst, cancelRequest)
		return append(dst, c.target.real...)
	})
	c.resume(true)
}
