package web

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// observer is a session in mode observe: it changes no byte and refuses nothing.
// What it reads, of HTTP/1.1 without TLS, is requests and the status of their
// answers: each request is asked about before it is passed on, by its method,
// host, path, query and, where that is short, body. Of fields, queries and bodies
// nothing is recorded, since the job's login may be in each. Whatever is odd ends
// the reading: the rest is relayed as an Unread.
type observer struct {
	session *session
	out     []protocol.Action
	caller  protocol.Leg
	halted  bool
	dialled bool
	rest    *protocol.Unread // nil while the session is read
	left    [2]int           // bytes of a message that is not whole
	closed  [2]bool          // the leg sends no more
	body    [2]body          // that is passing, by the leg that sends it
	asked   *exchange        // about what the client sends next
	decided bool
	owed    []*exchange // answers, in the order of their requests
}

// exchange is a request until it is answered.
type exchange struct {
	protocol.Pending
	method         string
	sent, received int64 // bytes
}

// Why the rest of a session is not read, beside protocol.Encrypted.
const (
	notUnderstood = "not understood"
	outOfTurn     = "messages that came out of turn"
	cutShort      = "a message that was not ended"
	otherProtocol = "another protocol, which the job asked for"
)

const (
	maxHead  = 64 << 10 // of a message
	shortest = 64 << 10 // body that is read with its request
	maxOwed  = 1 << 8   // requests that a client may send ahead
)

// Feed implements protocol.Conversation.
func (o *observer) Feed(from protocol.Leg, unread []byte, to []protocol.Action) (int, []protocol.Action) {
	if o.rest != nil {
		return o.rest.Feed(from, unread, to)
	}
	o.begin(from, to)
	taken := 0
	for !o.halted && o.rest == nil {
		n := o.pass(unread[taken:])
		if n == 0 && o.rest == nil {
			n = o.message(unread[taken:])
		}
		if n == 0 {
			break
		}
		o.act(protocol.Action{Kind: protocol.Write, Leg: 1 - from, Bytes: unread[taken : taken+n]})
		taken += n
	}
	o.left[from] = len(unread) - taken
	return taken, o.out
}

func (o *observer) begin(caller protocol.Leg, to []protocol.Action) {
	o.caller, o.out, o.halted = caller, to, false
}

func (o *observer) act(a protocol.Action) {
	o.halted = o.halted || a.Kind == protocol.Ask || a.Kind == protocol.Dial
	o.out = append(o.out, a)
}

// pass is how many bytes of a body come next.
func (o *observer) pass(b []byte) (n int) {
	body := &o.body[o.caller]
	n, ok := body.next(b)
	switch {
	case body.of == nil:
	case o.caller == protocol.ClientLeg:
		body.of.sent += int64(n)
	default:
		body.of.received += int64(n)
		if ok && n > 0 && body.over() {
			o.answered()
		}
	}
	if !ok {
		o.relayUnread(notUnderstood)
	}
	return n
}

// message is how many bytes the head of the next message has, once it may pass.
func (o *observer) message(b []byte) (n int) {
	if !o.dialled {
		o.dialled = true
		o.act(protocol.Action{Kind: protocol.Dial})
		return 0
	}
	switch {
	case len(b) == 0:
		return 0
	case o.caller == protocol.ServerLeg:
		return o.response(b)
	case b[0] == handshake:
		o.relayUnread(protocol.Encrypted)
	case bytes.HasPrefix(b, []byte("PRI ")): // HTTP/2, by prior knowledge
		o.relayUnread(otherProtocol)
	default:
		return o.request(b)
	}
	return 0
}

// handshake begins TLS (RFC 8446, section 5.1), and no method of HTTP.
const handshake = 22

// request asks about a request, or passes its head on.
func (o *observer) request(b []byte) (n int) {
	head, ok := endOfHead(b, beginsRequest)
	if head == 0 && ok {
		return 0
	}
	r, framed := readRequest(b[:head])
	if r == nil || len(o.owed) == maxOwed {
		o.relayUnread(notUnderstood)
		return 0
	}
	if o.asked == nil {
		o.ask(r, framed, b[head:])
		return 0
	}
	x := o.asked
	o.asked, o.decided = nil, false
	x.Operation.HTTP.Body = nil // the buffer is used again
	x.sent += int64(head)
	o.owed = append(o.owed, x)
	framed.of = x
	o.body[protocol.ClientLeg] = framed
	if r.Method == http.MethodConnect || r.Header.Get("Upgrade") != "" {
		o.relayUnread(otherProtocol) // behind this head
	}
	return head
}

// ask asks about a request. A body that is short is waited for, unless the client
// waits itself.
func (o *observer) ask(r *http.Request, framed body, behind []byte) {
	whole := !framed.chunked && framed.length <= shortest && r.Header.Get("Expect") == ""
	if whole && int64(len(behind)) < framed.length {
		return
	}
	if whole {
		behind = behind[:framed.length]
	}
	x := &exchange{method: r.Method}
	x.Operation = o.session.observed(r, behind, whole)
	o.asked = x
	o.act(protocol.Action{Kind: protocol.Ask, Op: &x.Pending})
}

// response reads the head of an answer.
func (o *observer) response(b []byte) (n int) {
	if len(o.owed) == 0 {
		o.relayUnread(outOfTurn)
		return 0
	}
	head, ok := endOfHead(b, beginsResponse)
	if head == 0 && ok {
		return 0
	}
	x := o.owed[0]
	status, framed, ok := readResponse(b[:head], x.method)
	if !ok || status == 101 {
		o.relayUnread(notUnderstood)
		return 0
	}
	x.received += int64(head)
	if status < 200 {
		return head
	}
	x.Outcome = protocol.Outcome{Status: protocol.OK, Code: strconv.Itoa(status)}
	if status >= 400 {
		x.Outcome.Status = protocol.Failed
	}
	framed.of = x
	o.body[protocol.ServerLeg] = framed
	if framed.over() {
		o.answered()
	}
	return head
}

// answered ends the exchange that came first.
func (o *observer) answered() {
	x := o.owed[0]
	o.owed = o.owed[1:]
	o.body[protocol.ServerLeg] = body{}
	o.done(x)
}

func (o *observer) done(x *exchange) {
	x.Outcome.Tag = strconv.FormatInt(x.sent, 10) + " bytes sent, " + strconv.FormatInt(x.received, 10) + " received"
	o.act(protocol.Action{Kind: protocol.Done, Op: &x.Pending})
}
