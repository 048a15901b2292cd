package kubernetes

import (
	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// session is one connection of a client.
type session struct {
	conn  *protocol.Conn
	login *httpproxy.Login
}

// site is how the engine serves the session.
func (s *session) site() httpproxy.Site {
	host := s.conn.Session.Destination.String()
	if len(s.conn.Names) > 0 {
		host = s.conn.Names[0]
	}
	return httpproxy.Site{
		Host:     host,
		Admit:    s.admit,
		Classify: s.classify,
		Login:    s.login,
		Masking:  s.masking,
		Refuse:   refuse,
		Upgrade:  s.upgrade,
	}
}
