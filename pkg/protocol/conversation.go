package protocol

import (
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
)

// Conversation is a message protocol as a state machine without I/O: bytes in,
// effects out. It starts no goroutine, reads no clock and holds no connection,
// so that any loop can drive it. The pump never calls two methods at once.
//
// Each method appends what has to happen to a slice that the caller reuses,
// and returns it. Bytes in an effect stay valid until the effects of that call
// have been performed; the caller performs all of them, in order, before it
// calls again on behalf of the same leg.
type Conversation interface {
	// Feed gives the bytes of a leg that have not been consumed yet and returns
	// how many it takes. What it leaves is given again, with more behind it,
	// or, after an Ask, a Dial or a Pause, once that is over, also of a leg that is
	// Closed. unread may be empty.
	Feed(from Leg, unread []byte, to []Action) (consumed int, actions []Action)
	// Decided answers the open Ask. With an error the decision denies; it is
	// ErrInterrupted when Interrupt ended the wait, ErrClientGone when the
	// client left.
	Decided(answer Decision, err error, to []Action) []Action
	// Waiting says, at once and then repeatedly, that the open Ask waits.
	Waiting(why Waiting, to []Action) []Action
	// Changed says what became of a leg.
	Changed(leg Leg, change Change, to []Action) []Action
}

// Chooser is a Conversation of a protocol whose clients say which of several
// resources they want.
type Chooser interface {
	Conversation
	// Chosen gives what came of a Choose. The Conn that it returns is what the
	// session goes on with; after an error, none.
	Chosen(conn *Conn, err error, to []Action) (*Conn, []Action)
}

// Change is what became of a leg.
type Change int

// The changes of a leg.
const (
	Opened  Change = iota // a Dial succeeded
	Broken                // a Dial or StartTLS did not succeed
	Secured               // a StartTLS succeeded
	Closed                // the peer sends no more
	Stopped               // a person ordered the session to end; Conn.Stopped says why. Of the client leg; the last call
)

// ActionKind says what an Action does.
type ActionKind uint8

// The kinds of action. Ask, Choose, Dial and StartTLS take time: each must be the last
// effect of a call, and its leg is not fed until it is over. Slow must be last, too.
const (
	Write      ActionKind = iota + 1 // Bytes to Leg; with Op they are recorded first
	Ask                              // decide Op; only from the client leg's calls
	Choose                           // find the resource by Start; only of a Chooser, from the client leg's calls
	Done                             // Op has ended with Op.Outcome; its memory is the conversation's again; at once after Op's last Write both are one record
	Dial                             // open the server leg; only from the client leg's calls
	StartTLS                         // secure Leg as Conn.ClientTLS or Conn.TLS says; only from that leg's calls
	CloseWrite                       // no more will be written to Leg
	Pause                            // feed nothing from Leg until Resume
	Resume                           // feed Leg again, even without new bytes
	Slow                             // nothing: the next Feed of the calling leg takes long, and is not to keep other sessions waiting
	End                              // close both legs; Err as Serve returns it
)

// Action is one effect: one thing that a Conversation wants done.
type Action struct {
	Kind  ActionKind
	Leg   Leg
	Bytes []byte
	Op    *Pending
	Start *Start
	Err   error
}

// Pending is an operation from its Ask to its Done. The conversation makes it,
// may use it again after Done, and sets Operation before Ask and Outcome before
// Done; the rest is the pump's.
type Pending struct {
	Operation operation.Operation
	Outcome   Outcome

	exchange Exchange
	began    time.Time
}
