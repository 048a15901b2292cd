package mysql

import (
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// maxAnswer bounds what a client says to log in. A server takes no more either.
const maxAnswer = 64 << 10

// maxLoginFrame bounds a packet of the server before the session is ready.
const maxLoginFrame = 64 << 10

// clientLogin reads the client's answer to our greeting. Whatever proof it has
// of a password is dropped: who it is says the kernel.
func (c *conversation) clientLogin(s *stream) bool {
	b := s.src[s.pos:]
	if len(b) < headerSize {
		return false
	}
	size, sequence := header(b)
	switch {
	case size > maxAnswer:
		c.violate(protocol.ClientLeg, errMalformed)
		return false
	case sequence != c.sequence+1:
		c.violate(protocol.ClientLeg, errSequence)
		return false
	case len(b) < size:
		return false
	}
	payload := b[headerSize:size]
	c.sequence = sequence
	if c.phase == switching {
		s.skip(size)
		c.proofSeen(len(payload) > 1)
		return !c.halted
	}
	if len(payload) == answerHead {
		r := reader{b: payload}
		s.skip(size)
		if r.uint32()&canTLS == 0 || c.conn.ClientTLS == nil || sequence != 1 {
			c.violate(protocol.ClientLeg, errMalformed)
			return false
		}
		c.act(protocol.Action{Kind: protocol.StartTLS, Leg: protocol.ClientLeg})
		return false
	}
	ok := c.start.parse(payload)
	s.skip(size)
	if !ok {
		c.violate(protocol.ClientLeg, errMalformed)
		return false
	}
	c.proof()
	return !c.halted
}

// proof sees to it that the client's own plug-in comes to its end. One that
// had another challenge in mind sends nothing, and waits for its own.
func (c *conversation) proof() {
	if c.start.plugin == pluginCachingSHA2 && c.start.plugin != c.known.plugin && c.start.proof == 0 {
		c.phase = switching
		c.sequence++
		c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
			return appendPacket(dst, c.sequence, []byte{0xfe}, []byte(c.start.plugin), []byte{0}, c.scramble, []byte{0})
		})
		return
	}
	c.proofSeen(c.start.proof > 1)
}

// proofSeen tells the client that its proof was right, where its plug-in waits
// for that word, and asks for the login.
func (c *conversation) proofSeen(some bool) {
	if c.start.plugin == pluginCachingSHA2 && some {
		c.sequence++
		c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
			return appendPacket(dst, c.sequence, []byte{moreData, fastAuthSuccess})
		})
	}
	c.askConnect()
}

// askConnect asks for the login. The client's user is what it is called in the
// record; the server sees the credential's.
func (c *conversation) askConnect() {
	o := c.newOp(operation.Connect)
	o.text = append(append(o.text, "user="...), c.start.user...)
	o.text = append(append(o.text, " database="...), c.start.database...)
	for _, a := range c.start.attributes {
		o.text = append(append(append(append(o.text, ' '), a.name...), '='), a.value...)
	}
	o.Operation.Text = o.text
	o.Operation.Context.Database = c.start.database
	o.Operation.Parsed, o.Operation.ReadOnly = true, true
	c.phase = deciding
	c.ask(o)
}

// What a server says during a login.
const (
	moreData        = 0x01
	switchRequest   = 0xfe
	fastAuthSuccess = 3
	fullAuth        = 4
)

// login is the state of the agent's authentication to the server.
type login struct {
	tls      bool
	sequence byte
	plugin   string
	scramble []byte
	switched bool
}

// serverLogin reads one packet of the server before it takes commands.
func (c *conversation) serverLogin(s *stream) bool {
	b := s.src[s.pos:]
	if len(b) < headerSize {
		return false
	}
	size, sequence := header(b)
	if size > maxLoginFrame || size == headerSize {
		c.violate(protocol.ServerLeg, errMalformed)
		return false
	}
	if len(b) < size {
		return false
	}
	payload := b[headerSize:size]
	s.skip(size)
	c.login.sequence = sequence + 1
	switch {
	case payload[0] == 0xff:
		c.loginFailed(payload)
	case c.phase == calling:
		c.serverGreeted(payload)
	case payload[0] == 0:
		c.loggedIn(payload)
	case payload[0] == switchRequest:
		c.switchPlugin(payload[1:])
	case payload[0] == moreData && c.login.plugin == pluginCachingSHA2 && len(payload) == 2:
		c.cachingSHA2(payload[1])
	default:
		c.refuseLogin(codeUnreachable, errPlugin.Error())
	}
	return !c.halted
}

// serverGreeted begins the login, over TLS where the resource demands it.
func (c *conversation) serverGreeted(payload []byte) {
	var g greeting
	if err := g.parse(payload); err != nil {
		c.violate(protocol.ServerLeg, err)
		return
	}
	if now := g.profile(); now != c.known {
		c.plugin.learn(c.conn, now)
		c.standing.mariaDB, c.standing.version = now.mariaDB(), now.number()
	}
	c.plugin.threads.greeted(&c.thread, g.thread)
	c.login.plugin, c.login.scramble = g.plugin, g.scramble
	agreed := c.start.can & c.known.can & relayed
	if agreed&^g.can != 0 {
		c.refuseLogin(codeUnreachable, "the server is not what it was a moment ago: try again")
		return
	}
	c.start.can = agreed | demanded | c.start.can&canDatabase | g.can&canAttributes
	if c.start.database == "" {
		c.start.can &^= canDatabase
	}
	c.start.attributes = c.attributes()
	if c.conn.TLS.Mode == protocol.TLSOff {
		c.phase = loggingIn
		c.sendLogin()
		return
	}
	if g.can&canTLS == 0 {
		c.refuseLogin(codeUnreachable, "the server offers no TLS, which its resource demands")
		return
	}
	c.phase = securing
	c.start.can |= canTLS
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst, mark := open(dst, c.login.sequence)
		return shut(c.start.head(dst), mark)
	})
	c.login.sequence++
	c.act(protocol.Action{Kind: protocol.StartTLS, Leg: protocol.ServerLeg})
}

// attributes are what the server keeps of the client's own, with the session in
// the place of its program's name.
func (c *conversation) attributes() []attribute {
	kept := []attribute{{"program_name", "sluice/" + c.conn.Session.ID}}
	for _, a := range c.start.attributes {
		if a.name != "program_name" && len(a.name)+len(a.value) < 128 && len(kept) < 8 {
			kept = append(kept, a)
		}
	}
	return kept
}

// sendLogin logs in with the agent's credential.
func (c *conversation) sendLogin() {
	proof, err := prove(c.login.plugin, c.conn.Credential.Password, c.login.scramble, c.login.tls)
	plugin := c.login.plugin
	if err != nil || len(proof) > maxFirstProof {
		plugin, proof = pluginNative, nil // the server asks for its own then
		c.login.plugin = ""
	}
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		return c.start.logIn(dst, c.login.sequence, c.conn.Credential.User, proof, plugin)
	})
}

// maxFirstProof is what the length in an answer can say.
const maxFirstProof = 250

// switchPlugin answers the server's wish for another plug-in, once.
func (c *conversation) switchPlugin(payload []byte) {
	r := reader{b: payload}
	c.login.plugin = string(r.cstring())
	c.login.scramble = append([]byte(nil), r.b...)
	if r.bad || c.login.switched {
		c.refuseLogin(codeUnreachable, errPlugin.Error())
		return
	}
	c.login.switched = true
	proof, err := prove(c.login.plugin, c.conn.Credential.Password, c.login.scramble, c.login.tls)
	if err != nil {
		c.refuseLogin(codeUnreachable, err.Error())
		return
	}
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte { return appendPacket(dst, c.login.sequence, proof) })
}

// cachingSHA2 goes on with caching_sha2_password: the server either knew the
// password's hash, or wants the password, which it gets over TLS.
func (c *conversation) cachingSHA2(word byte) {
	switch {
	case word == fastAuthSuccess:
	case word != fullAuth:
		c.refuseLogin(codeUnreachable, errPlugin.Error())
	case !c.login.tls:
		c.refuseLogin(codeUnreachable, errNeedsTLS.Error())
	default:
		c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
			return appendPacket(dst, c.login.sequence, []byte(c.conn.Credential.Password), []byte{0})
		})
	}
}

// loggedIn reads how texts are read here, before the client may speak.
func (c *conversation) loggedIn(payload []byte) {
	if !c.noteOK(payload) {
		c.violate(protocol.ServerLeg, errMalformed)
		return
	}
	c.phase = settling
	c.standing.stale = true
	c.readStanding()
}

// openToClient ends the login.
func (c *conversation) openToClient() {
	if c.standing.unread {
		c.refuseLogin(codeUnreachable, "the server does not tell how it reads statements")
		return
	}
	o := c.front.op
	c.front = front{}
	c.phase = ready
	o.end(protocol.Outcome{Status: protocol.OK})
	c.settle(o)
	c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
		return appendPacket(dst, c.sequence+1, []byte{0, 0, 0, byte(c.status), byte(c.status >> 8), 0, 0})
	})
	c.sequence = 0
	c.resume()
}

// loginFailed tells the client that the server took no session. What says whom
// the agent logged in as stays here.
func (c *conversation) loginFailed(payload []byte) {
	e, ok := readFailure(payload)
	switch e.number {
	case 1049, 1040, 1053: // no such database, too many connections, shutting down
		if ok {
			c.sendError(c.sequence+1, e, c.front.op)
			c.endLogin(protocol.Outcome{Status: protocol.Failed, Code: e.text()})
			return
		}
	}
	c.refuseLogin(codeLoginRefused, "the server refused the agent's login")
}

// refuseLogin ends a session that never became ready.
func (c *conversation) refuseLogin(code code, reason string) {
	c.sendError(c.sequence+1, errorOf(code, "sluice: "+reason), nil)
	c.endLogin(protocol.Outcome{Status: protocol.Refused, Code: code.text()})
}

func (c *conversation) endLogin(outcome protocol.Outcome) {
	if o := c.front.op; o != nil {
		c.front = front{}
		o.end(outcome)
		c.settle(o)
	}
	c.act(protocol.Action{Kind: protocol.End})
}
