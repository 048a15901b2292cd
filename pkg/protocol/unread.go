package protocol

import (
	"context"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
)

// maxHead is how much of the beginning of a leg a Look may see.
const maxHead = 16 << 10

// maxFact is the longest fact that is kept, in bytes.
const maxFact = 255

// Look tells a fact from the first bytes that a leg sent, in a copy of them:
// "" for none. more: it wants to see more of them.
type Look func(from Leg, head []byte) (fact string, more bool)

// Unread is the Conversation of a session, or of the rest of one, that is
// relayed without being read: in mode observe, where the job encrypts it or
// nobody can follow it any more. Bytes pass unchanged in both directions, the
// end of one leaves the other open, and none passes before the operation is
// recorded that says why it is not read. How much passed, and what Look found,
// is in that operation's outcome.
type Unread struct {
	op    Pending
	look  Look
	stage passing
	ways  [2]way // by the leg that they come from
}

// way is what is known of one direction.
type way struct {
	bytes int64
	head  []byte // what Look has not finished with
	seen  bool   // it has
	fact  string
	over  bool // the leg sends no more
	ended bool // and the other one knows
}

// passing is how far an Unread is.
type passing int

const (
	undialled passing = iota
	unasked
	asking
	relaying
)

// RelayUnread serves a whole session unread, for the reason why. look may be
// nil.
func RelayUnread(ctx context.Context, conn *Conn, why string, look Look) error {
	return NewPump(conn, NewUnread(why, false, look), maxHead).Run(ctx)
}

// NewUnread is the rest of a session, whose server leg is open already where it
// was dialled. Its client's leg has to be fed soon, if only nothing: then it dials,
// and asks.
func NewUnread(why string, dialled bool, look Look) *Unread {
	u := &Unread{look: look}
	if dialled {
		u.stage = unasked
	}
	u.op.Operation.Kind = operation.Unread
	u.op.Operation.Unread = why
	return u
}

// TakeOver has both legs fed again, each from the first byte on that was not
// consumed. closed are those that send no more.
func (u *Unread) TakeOver(closed [2]bool, to []Action) []Action {
	for leg, over := range closed {
		u.ways[leg].over = over // which is acted on once it has asked
		to = append(to, Action{Kind: Pause, Leg: Leg(leg)}, Action{Kind: Resume, Leg: Leg(leg)})
	}
	return to
}

// Feed implements Conversation.
func (u *Unread) Feed(from Leg, unread []byte, to []Action) (int, []Action) {
	switch {
	case u.stage == relaying:
		to = u.pass(from, unread, to)
		if u.ways[from].over {
			to = u.end(from, to)
		}
		return len(unread), to
	case from == ServerLeg:
		return 0, append(to, Action{Kind: Pause, Leg: from})
	case u.stage == undialled:
		return 0, append(to, Action{Kind: Dial})
	}
	u.see(from, unread)
	return 0, u.ask(to)
}

// ask has recorded what is relayed next.
func (u *Unread) ask(to []Action) []Action {
	u.stage = asking
	u.op.Operation.Text = operation.Text(u.facts())
	return append(to, Action{Kind: Ask, Op: &u.op})
}

// pass relays what a leg sent. The session may end at any moment, so that what
// its outcome says is up to date after each.
func (u *Unread) pass(from Leg, b []byte, to []Action) []Action {
	if len(b) == 0 {
		return to
	}
	w := &u.ways[from]
	if w.bytes == 0 {
		w.head = nil // of what was seen before it was asked about, and comes again
	}
	u.see(from, b)
	w.bytes += int64(len(b))
	u.op.Outcome.Tag = u.tag()
	return append(to, Action{Kind: Write, Leg: 1 - from, Bytes: b})
}

// see shows Look what a leg sent.
func (u *Unread) see(from Leg, b []byte) {
	w := &u.ways[from]
	if w.seen || u.look == nil {
		return
	}
	w.head = append(w.head, b[:min(len(b), maxHead-len(w.head))]...)
	fact, more := u.look(from, w.head)
	if more && len(w.head) < maxHead {
		return
	}
	w.seen, w.head = true, nil
	w.fact = Printable(strings.ToValidUTF8(fact[:min(len(fact), maxFact)], "?"))
}

// facts are what Look has found so far.
func (u *Unread) facts() string {
	var found []string
	for _, w := range u.ways {
		if w.fact != "" {
			found = append(found, w.fact)
		}
	}
	return strings.Join(found, ", ")
}

func (u *Unread) tag() string {
	tag := strconv.FormatInt(u.ways[ClientLeg].bytes, 10) + " bytes sent, " + strconv.FormatInt(u.ways[ServerLeg].bytes, 10) + " received"
	if facts := u.facts(); facts != "" {
		tag = facts + ", " + tag
	}
	return tag
}

// Decided implements Conversation. Where nothing may pass unread, all ends.
func (u *Unread) Decided(answer Decision, err error, to []Action) []Action {
	switch {
	case err != nil || answer.Effect != Allow:
		u.op.Outcome.Status = Refused
	case u.op.Outcome.Status == Failed: // the server cannot be reached
	default:
		u.stage = relaying // the client is fed next; the server is, whatever it left
		return append(to, Action{Kind: Pause, Leg: ServerLeg}, Action{Kind: Resume, Leg: ServerLeg})
	}
	return append(to, Action{Kind: Done, Op: &u.op}, Action{Kind: End})
}

// Waiting implements Conversation: nobody is told anything.
func (u *Unread) Waiting(_ Waiting, to []Action) []Action { return to }

// Changed implements Conversation.
func (u *Unread) Changed(leg Leg, change Change, to []Action) []Action {
	switch change {
	case Opened:
		u.stage = unasked
	case Broken:
		u.op.Outcome = Outcome{Status: Failed, Code: "unreachable"}
		return u.ask(to)
	case Closed:
		u.ways[leg].over = true
		if u.stage == relaying {
			return u.end(leg, to)
		}
	case Secured, Stopped:
		return append(to, Action{Kind: End})
	}
	return to
}

// end passes on that a leg sends no more, and ends with the second.
func (u *Unread) end(leg Leg, to []Action) []Action {
	u.ways[leg].ended = true
	to = append(to, Action{Kind: CloseWrite, Leg: 1 - leg})
	if u.ways[1-leg].ended {
		u.op.Outcome.Status = OK
		to = append(to, Action{Kind: Done, Op: &u.op}, Action{Kind: End})
	}
	return to
}
