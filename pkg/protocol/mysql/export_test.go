package mysql

import "github.com/sluicegate/sluice/pkg/protocol"

// NewConversation returns a conversation without a pump, and Known makes a
// plug-in one that has spoken with a server already.
func NewConversation(m *MySQL, conn *protocol.Conn) protocol.Conversation {
	return newConversation(m, conn, testProfile)
}

// NewObserver is one of a session that is only observed.
func NewObserver(m *MySQL, conn *protocol.Conn) protocol.Conversation { return newObserver(m, conn) }

var testProfile = profile{version: "10.11.19-MariaDB", can: relayed&^canLongPassword | canDatabase | canPlugins | canAttributes | canLongAnswers, charset: 45, plugin: pluginNative}

// Known is a plug-in that knows the server of a scripted session.
func Known(m *MySQL, conn *protocol.Conn) *MySQL {
	m.learn(conn, testProfile)
	return m
}

// StandingQuery is what the agent asks first.
const StandingQuery = standingQuery

// LookUp is what it asks about a relation.
func LookUp(masks *protocol.Conn, schema, table string) string {
	k := newMasking(&MySQL{}, masks)
	return k.query([]string{key(schema, table)})
}
