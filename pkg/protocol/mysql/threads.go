package mysql

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// thread is one session's place in the registry: the connection id that its
// client was given, and the server's own.
type thread struct {
	given     uint32
	real      uint32 // 0 until the server has greeted
	server    netip.AddrPort
	resource  string
	workload  uint64      // the netns that the client is in
	interrupt func() bool // ends a wait for a decision; false if there is none
}

// threads holds the threads of all sessions of one plug-in.
type threads struct {
	mu    sync.Mutex
	given map[uint32]*thread // guarded by mu
	all   map[*thread]bool   // guarded by mu
}

func newThreads() *threads {
	return &threads{given: map[uint32]*thread{}, all: map[*thread]bool{}}
}

// add gives a session a fresh id. It has 31 bits, as some clients read it with
// a sign.
func (t *threads) add(session *thread) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[session] = true
	for {
		var id [4]byte
		_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
		session.given = binary.LittleEndian.Uint32(id[:]) & 0x7fffffff
		if _, taken := t.given[session.given]; !taken && session.given != 0 {
			t.given[session.given] = session
			return
		}
	}
}

// greeted notes the server's own id of a session.
func (t *threads) greeted(session *thread, real uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	session.real = real
}

// remove forgets a session.
func (t *threads) remove(session *thread) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, session)
	if t.given[session.given] == session {
		delete(t.given, session.given)
	}
}

// find returns the session that an id names to a session of the same workload
// and server: as its client was given it, or as the server tells it by
// CONNECTION_ID(). real is the server's id.
func (t *threads) find(id uint64, conn *protocol.Conn) (found *thread, real uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == 0 || id > 1<<32-1 {
		return nil, 0
	}
	found = t.given[uint32(id)]
	if !found.isOf(conn) {
		found = nil
		for other := range t.all {
			if other.real == uint32(id) && other.isOf(conn) {
				found = other
			}
		}
	}
	if found == nil {
		return nil, 0
	}
	return found, found.real
}

// isOf reports whether a session is of the workload and the server of another.
func (t *thread) isOf(conn *protocol.Conn) bool {
	return t != nil && t.server == conn.Session.Destination && t.resource == conn.Session.Resource &&
		t.workload == conn.Session.Workload.Kernel.NetnsCookie
}
