package web

import "github.com/sluicegate/sluice/pkg/protocol"

// NewObserver is one of a session that is only observed.
func NewObserver(conn *protocol.Conn) protocol.Conversation {
	return &observer{session: newSession(conn)}
}
