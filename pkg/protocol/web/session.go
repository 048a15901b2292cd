package web

import (
	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// session is one connection of a client.
type session struct {
	conn   *protocol.Conn
	paths  []*mask.Path // of the masks
	sealed []*mask.Path // the same, hashed
}

func newSession(conn *protocol.Conn) *session {
	s := &session{conn: conn}
	for i := range conn.Masks.Paths {
		path := conn.Masks.Paths[i]
		s.paths = append(s.paths, &conn.Masks.Paths[i])
		path.Method = mask.Hash
		s.sealed = append(s.sealed, &path)
	}
	return s
}

// site is how the engine serves the session.
func (s *session) site() httpproxy.Site {
	return httpproxy.Site{
		Plain:    s.conn.TLS.Mode == protocol.TLSOff,
		Admit:    s.admit,
		Classify: s.classify,
		Streamed: s.streamed,
		Login:    httpproxy.NewLogin(s.conn),
		Masking:  s.masking,
		Refuse:   refuse,
	}
}
