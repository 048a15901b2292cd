package kubernetes

import (
	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// session is one connection of a client.
type session struct {
	conn *protocol.Conn
}

// site is how the engine serves the session.
func (s *session) site() httpproxy.Site {
	return httpproxy.Site{
		Classify: s.classify,
		Masking:  s.masking,
		Refuse:   refuse,
		Upgrade:  s.upgrade,
	}
}
