package postgres

import (
	"encoding/binary"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// startup is what the client asked for before its session began.
type startup struct {
	askedTLS, askedGSS bool
	direct             bool // TLS began without a request
	user, database     string
	parameters         []parameter // as sent, without what we set ourselves
}

type parameter struct{ name, value string }

// clientStartup reads start-up packets: a length and a code, then a body. TLS
// and GSS encryption are answered at most once each.
func (c *conversation) clientStartup(s *stream) bool {
	b := s.src[s.pos:]
	if len(b) > 0 && b[0] == tlsHandshake && !c.start.askedTLS && !c.start.askedGSS && c.conn.ClientTLS != nil {
		c.start.askedTLS, c.start.direct = true, true
		c.act(protocol.Action{Kind: protocol.StartTLS, Leg: protocol.ClientLeg})
		return false
	}
	if len(b) < 8 {
		return false
	}
	size, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if size < 8 || size > maxStartup {
		c.violate(protocol.ClientLeg, errFrameLength)
		return false
	}
	if len(b) < int(size) {
		return false
	}
	body := b[8:size]
	s.skip(int(size))
	switch {
	case code == sslRequest && size == 8 && !c.start.askedTLS:
		c.start.askedTLS = true
		c.answerTLS()
	case code == gssRequest && size == 8 && !c.start.askedGSS:
		c.start.askedGSS = true
		c.write(protocol.ClientLeg, []byte{'N'}, nil)
	case code == cancelRequest:
		c.cancel(body)
	case code>>16 == 3:
		c.openSession(code, body)
	default:
		c.violate(protocol.ClientLeg, errMalformed)
	}
	return !c.halted
}

// answerTLS answers the client's request for TLS.
func (c *conversation) answerTLS() {
	if c.conn.ClientTLS == nil {
		c.write(protocol.ClientLeg, []byte{'N'}, nil)
		return
	}
	c.write(protocol.ClientLeg, []byte{'S'}, nil)
	c.act(protocol.Action{Kind: protocol.StartTLS, Leg: protocol.ClientLeg})
}

// openSession reads the parameters, and asks for the login as soon as it is known
// whose session it is. The client's user is what it is called in the record; the
// server sees the credential's.
func (c *conversation) openSession(version uint32, body []byte) {
	unknown, ok := c.start.parse(body)
	if !ok || c.start.user == "" {
		c.violate(protocol.ClientLeg, errMalformed)
		return
	}
	granted := uint32(version30)
	if version >= version32 {
		granted = version32
	}
	c.key.long = granted == version32
	if version != granted || len(unknown) > 0 {
		c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte { return negotiate(dst, granted, unknown) })
	}
	if c.conn.Choose != nil {
		c.choose(protocol.Start{Database: c.start.database, User: c.start.user})
		return
	}
	c.askConnect()
}

// askConnect asks for the login.
func (c *conversation) askConnect() {
	o := c.newOp(c.start.kind())
	o.text = append(o.text, "user="...)
	o.text = append(o.text, c.start.user...)
	o.text = append(append(o.text, " database="...), c.start.database...)
	for _, p := range c.start.parameters {
		o.text = append(append(append(append(o.text, ' '), p.name...), '='), p.value...)
	}
	o.Operation.Text = o.text
	o.Operation.Parsed = true
	o.Operation.ReadOnly = o.Operation.Kind == operation.Connect
	c.phase = deciding
	c.front = front{op: o}
	reason := c.replicationRefusal()
	if reason == "" && c.conn.SQLRules && !c.conn.Observe && c.start.setsRole() {
		reason = "where rules read op.sql a role is set by SET ROLE, not at start-up"
	}
	if reason != "" {
		c.refuseLogin("0A000", reason)
		return
	}
	c.act(protocol.Action{Kind: protocol.Ask, Op: &o.Pending})
}

// setsRole reports whether a parameter, or one among the server's options, is the
// role: no rule on statements sees it there. The server takes '-' in a name for
// '_' and drops backslashes in options, so that what only looks like it counts.
func (s *startup) setsRole() bool {
	for _, p := range s.parameters {
		said := p.name
		if p.name == "options" {
			said = strings.NewReplacer(`\`, "", "-", "_").Replace(p.value)
		}
		said = strings.ToLower(said)
		if strings.Contains(said, "role") || strings.Contains(said, "session_authorization") {
			return true
		}
	}
	return false
}

// parse reads name and value pairs, ended by an empty name. Protocol options
// that begin with _pq_. are not passed on; the client is told.
func (s *startup) parse(body []byte) (unknown []string, ok bool) {
	r := reader{b: body}
	for {
		name := string(r.cstring())
		if r.bad || name == "" {
			break
		}
		value := string(r.cstring())
		switch {
		case name == "user":
			s.user = value
		case name == "database":
			s.database = value
		case name == "application_name": // ours says which session this is
		case strings.HasPrefix(name, "_pq_."):
			unknown = append(unknown, name)
		default:
			s.parameters = append(s.parameters, parameter{name, value})
		}
	}
	if s.database == "" {
		s.database = s.user
	}
	return unknown, r.done()
}

// negotiate is NegotiateProtocolVersion: the version that it will be, major
// and minor as servers send it, and which options are not known.
func negotiate(dst []byte, granted uint32, unknown []string) []byte {
	dst, mark := open(dst, msgNegotiateVersion)
	dst = binary.BigEndian.AppendUint32(dst, granted)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unknown)))
	for _, name := range unknown {
		dst = appendString(dst, name)
	}
	return shut(dst, mark)
}

// serverOpened speaks first on the server leg.
func (c *conversation) serverOpened() {
	c.pause() // until the login is over, or the cancel request sent
	if c.conn.TLS.Mode == protocol.TLSOff {
		c.greetServer()
		return
	}
	c.phase = securing
	c.write(protocol.ServerLeg, []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}, nil) // SSLRequest
}

// greetServer says what the session was opened for, once the server leg is as
// secure as its resource demands.
func (c *conversation) greetServer() {
	if c.target != nil {
		c.phase = cancelling
		c.sendCancel()
		return
	}
	c.sendStartup()
}

// serverTLSAnswer reads the one byte that answers our SSLRequest. An error
// message instead, which an old server sends in plain text, is a refusal too.
func (c *conversation) serverTLSAnswer(s *stream) {
	if s.pos == len(s.src) {
		return
	}
	answer := s.src[s.pos]
	s.skip(1)
	if answer != 'S' {
		c.refuseLogin("08006", "the server offers no TLS, which its resource demands")
		return
	}
	c.act(protocol.Action{Kind: protocol.StartTLS, Leg: protocol.ServerLeg})
}

// sendStartup logs in with the agent's credential.
func (c *conversation) sendStartup() {
	c.phase = loggingIn
	first := []parameter{{"user", c.conn.Credential.User}, {"database", c.start.database}, {"application_name", "sluice/" + c.conn.Session.ID}}
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte { return appendStartup(dst, first, c.start.parameters) })
}

// appendStartup appends a start-up packet with lists of parameters.
func appendStartup(dst []byte, lists ...[]parameter) []byte {
	mark := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, version30)
	for _, list := range lists {
		for _, p := range list {
			dst = appendString(appendString(dst, p.name), p.value)
		}
	}
	dst = append(dst, 0)
	binary.BigEndian.PutUint32(dst[mark:], uint32(len(dst)-mark))
	return dst
}
