package postgres

import "github.com/sluicegate/sluice/pkg/protocol"

// TakenQuery is what a session without masks asks the server at login.
const TakenQuery = takenQuery

// NewConversation gives benchmarks and fuzzing the state machine without its
// pump.
func NewConversation(p protocol.Protocol, conn *protocol.Conn) protocol.Conversation {
	c := newConversation(p.(*Postgres), conn)
	c.key.interrupt = func() bool { return false }
	return c
}

// TallyQuery asks how many rows the open transaction changed.
const TallyQuery = tallyQuery
