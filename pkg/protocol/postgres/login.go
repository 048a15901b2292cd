package postgres

import (
	"crypto/md5"
	"encoding/hex"
	"errors"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// Authentication requests, by their number.
const (
	authOK           = 0
	authCleartext    = 3
	authMD5          = 5
	authSASL         = 10
	authSASLContinue = 11
	authSASLFinal    = 12
)

var errNoPassword = errors.New("the server asks for a password, and the credential has none")

var errAuthentication = errors.New("the server asks for an authentication that is not supported")

// login is the state of the agent's authentication to the server.
type login struct {
	endpoint []byte // the channel binding of it; nil if there is none
	scram    *scram
	verified bool // the server has proven that it knows the password
}

// loginFrame reads one message of the server before the session is ready.
func (c *conversation) loginFrame(s *stream) bool {
	b := s.src[s.pos:]
	if len(b) < headerSize {
		return false
	}
	kind, size, err := header(b)
	if err != nil || size > maxLoginFrame {
		c.violate(protocol.ServerLeg, errFrameLength)
		return false
	}
	if len(b) < size {
		return false
	}
	frame := b[:size]
	switch {
	case kind == msgAuthentication && c.phase == loggingIn:
		c.swallow(s, size)
		if err := c.authenticate(frame[headerSize:]); err != nil {
			c.refuseLogin("28000", err.Error())
		}
	case kind == msgNegotiateVersion && c.phase == loggingIn:
		c.swallow(s, size)
	case kind == msgErrorResponse:
		c.swallow(s, size)
		c.loginFailed(frame)
	case kind == msgNotice || kind == msgParameterStatus && c.phase == settling:
		c.settings.follow(frame)
		c.pass(s, size, nil)
	case kind == msgBackendKeyData && c.phase == settling:
		c.swallow(s, size)
		c.replaceKey(frame[headerSize:])
	case kind == msgReadyForQuery && c.phase == settling && size == headerSize+1:
		c.swallow(s, size)
		c.loggedIn(frame)
	default:
		c.violate(protocol.ServerLeg, errMalformed)
	}
	return !c.halted
}

// maxLoginFrame bounds what a server may send before the session is ready.
const maxLoginFrame = 64 << 10

// authenticate answers one authentication request. The client hears only of
// the success.
func (c *conversation) authenticate(body []byte) error {
	r := reader{b: body}
	switch kind := r.int32(); {
	case r.bad:
		return errMalformed
	case kind == authOK:
		if c.login.scram != nil && !c.login.verified {
			return errors.New("the server did not prove that it knows the password")
		}
		c.phase = settling
		c.write(protocol.ClientLeg, []byte{msgAuthentication, 0, 0, 0, 8, 0, 0, 0, 0}, nil)
	case kind != authOK && kind != authSASLContinue && kind != authSASLFinal && c.conn.Credential.Password == "":
		return errNoPassword
	case kind == authCleartext && c.conn.TLS.Mode != protocol.TLSOff:
		c.sendPassword([]byte(c.conn.Credential.Password))
	case kind == authMD5:
		c.sendPassword(md5Password(c.conn.Credential, r.take(4)))
	case kind == authSASL || kind == authSASLContinue || kind == authSASLFinal:
		return c.sasl(int(kind), r.b)
	default:
		return errAuthentication
	}
	return nil
}

// md5Password is "md5" and the hex of md5(md5(password user) salt).
func md5Password(credential protocol.Credential, salt []byte) []byte {
	inner := md5.Sum([]byte(credential.Password + credential.User))
	outer := md5.Sum(append(hex.AppendEncode(nil, inner[:]), salt...))
	return hex.AppendEncode([]byte("md5"), outer[:])
}

func (c *conversation) sendPassword(answer []byte) {
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
		dst, mark := open(dst, msgPassword)
		return shut(append(append(dst, answer...), 0), mark)
	})
}

// loginFailed tells the client that the server took no session. What says
// whom the agent logged in as stays here.
func (c *conversation) loginFailed(frame []byte) {
	code := errorCode(frame)
	if code == "" || code[:2] == "28" {
		c.refuseLogin("28000", "the server refused the agent's login")
		return
	}
	c.write(protocol.ClientLeg, frame, c.front.op)
	c.endLogin(protocol.Outcome{Status: protocol.Failed, Code: code})
}

// refuseLogin ends a session that never became ready.
func (c *conversation) refuseLogin(code, reason string) {
	c.fatal(code, "sluice: "+reason)
	c.endLogin(protocol.Outcome{Status: protocol.Refused, Code: code})
}

func (c *conversation) endLogin(outcome protocol.Outcome) {
	if o := c.front.op; o != nil {
		c.front = front{}
		o.end(outcome)
		c.settle(o)
	}
	c.act(protocol.Action{Kind: protocol.End})
}

// loggedIn opens the session to the client, after what is masked was read.
func (c *conversation) loggedIn(frame []byte) {
	if c.start.replication() != notReplicating {
		c.replicate(frame[headerSize])
		return
	}
	if reason := c.settings.refusal(); reason != "" && c.guarded() {
		c.refuseLogin("22023", reason)
		return
	}
	o := c.front.op
	c.front = front{}
	o.end(protocol.Outcome{Status: protocol.OK})
	c.settle(o)
	c.status = frame[headerSize]
	c.phase = ready
	c.catalog.database = c.start.database
	c.readStanding(true)
	if !c.catalog.borrow() {
		c.readCatalog(true)
	}
}

// openToClient lets the client speak.
func (c *conversation) openToClient() {
	c.opened = true
	c.sendReady()
	c.resume(true)
}

// sendReady says that the server waits for a statement, in the state that it
// is truly in.
func (c *conversation) sendReady() {
	c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
		return append(dst, msgReadyForQuery, 0, 0, 0, 5, c.status)
	})
}
