package postgres

import (
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// replication is what a client's start-up packet says of it.
type replication int

const (
	notReplicating replication = iota
	physical                   // replication commands alone
	logical                    // and SQL, in one database
	unclear                    // said twice, or in words that we do not know
)

// replication reads the parameter of that name. The server takes more words
// for true and false than clients use.
func (s *startup) replication() replication {
	said := notReplicating
	for _, p := range s.parameters {
		if p.name != "replication" {
			continue
		}
		switch {
		case said != notReplicating:
			said = unclear
		case p.value == "database":
			said = logical
		case p.value == "true" || p.value == "on" || p.value == "yes" || p.value == "1":
			said = physical
		default:
			said = unclear
		}
	}
	return said
}

// kind is what the start-up is asked about as.
func (s *startup) kind() operation.Kind {
	if s.replication() == notReplicating {
		return operation.Connect
	}
	return operation.Replication
}

// replicationRefusal says why a replication session cannot be passed on,
// whatever a rule says: it is relayed and recorded, but nothing in it is read.
func (c *conversation) replicationRefusal() string {
	switch said := c.start.replication(); {
	case said == notReplicating:
		return ""
	case said == unclear:
		return "replication is asked for in words that are not passed on"
	case !c.conn.Masks.Empty():
		return "replication is not passed on where masks apply"
	case said == logical && c.conn.SQLRules:
		return "replication with SQL is not passed on where rules read op.sql"
	}
	return ""
}

// replicate begins the relay of a session that a rule allowed. All of it is
// recorded with the operation that was asked about.
func (c *conversation) replicate(status byte) {
	c.replica, c.front = c.front.op, front{}
	c.status = status
	c.phase = replicating
	c.openToClient()
}

// endReplication ends that operation.
func (c *conversation) endReplication() {
	if c.replica == nil {
		return
	}
	c.replica.end(protocol.Outcome{Status: protocol.OK})
	c.settle(c.replica)
	c.replica = nil
}
