package postgres

import (
	"github.com/sluicegate/sluice/pkg/protocol"
)

// choose finds out whose session this is. Until then nobody is asked, and no
// server is spoken to.
func (c *conversation) choose(by protocol.Start) {
	c.phase = choosing
	c.act(protocol.Action{Kind: protocol.Choose, Start: &by})
}

// Chosen implements protocol.Chooser.
func (c *conversation) Chosen(conn *protocol.Conn, err error, to []protocol.Action) (*protocol.Conn, []protocol.Action) {
	c.begin(protocol.ClientLeg, to)
	if err != nil {
		if c.target == nil {
			c.fatal("3D000", "sluice: no resource at this address is for this database, user and TLS server name")
		}
		c.act(protocol.Action{Kind: protocol.End})
		return nil, c.out
	}
	c.serve(conn)
	own, err := c.secure(conn)
	switch {
	case err != nil:
		c.act(protocol.Action{Kind: protocol.End, Err: err})
	case c.target != nil:
		c.askCancel()
	case c.start.replication() != notReplicating:
		// The server sends what is in all of its databases, for some of which
		// another resource is there.
		c.fatal("0A000", "sluice: replication is not passed on where a resource selects its sessions")
		c.act(protocol.Action{Kind: protocol.End})
	default:
		c.askConnect()
	}
	return own, c.out
}
