// Package approval asks people whether a held operation may go on, and
// believes nobody but them.
//
// A Request binds the exact bytes to be forwarded, what gives them their
// meaning, and who asks; the agent signs it. A Vote is signed over the hash of
// that signed request by the approver's own key, with decision, scope and
// expiry inside the signed bytes. A Roster, signed by an offline root whose
// key is pinned at install, says whose keys count. So neither the bus nor the
// collector, through which all of this travels, can make or change a yes: at
// worst they delay it, and then the operation is denied at its deadline.
//
// A roster may also name the console's key. The collector signs with it for an
// approver who has just logged in; a collector that lies could then vote in
// that approver's name, so a rule can demand the approver's own key.
//
// Two things let a request go on unasked, both signed with people's own keys and
// checked as votes are: a BreakGlass token while the collector is away, and a
// Preapproval of exactly the statements that somebody reviewed in a file, for
// the verified job of one commit.
//
// The agent's Desk holds, counts and times. A Ballot does the counting without
// clock or network, and the collector uses it to tell an approver at once why
// a vote will not count; what the agent counts is what decides.
//
// The package does not record: the caller does, through a Witness. It does not
// show: what an approver sees is what their own program renders of the signed
// request.
package approval

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// State is where an approval stands. The zero value is no answer, and nothing
// but Approved lets an operation go on.
type State string

// The states of an approval.
const (
	Pending   State = "pending"
	Approved  State = "approved"
	Denied    State = "denied"
	Expired   State = "expired"   // the deadline came first
	Withdrawn State = "withdrawn" // the client went away or cancelled
	Abandoned State = "abandoned" // the agent was restarted while it was held
)

// ErrSettled reports that an approval has ended and cannot change any more.
var ErrSettled = errors.New("the approval is settled")

// Transition says whether an approval may go from one state to another:
// only from pending, and only to an end. A store calls it inside its
// compare-and-swap.
func Transition(from, to State) error {
	if from != Pending {
		return fmt.Errorf("%w: it is %s", ErrSettled, from)
	}
	switch to {
	case Approved, Denied, Expired, Withdrawn, Abandoned:
		return nil
	}
	return fmt.Errorf("%q is not an end of an approval", to)
}

// NewID returns a fresh request id: 128 random bits in hex.
func NewID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(raw[:])
}

func isID(id string) bool { return isHex(id, 16) }

// isHex reports whether text is size bytes in lower-case hex.
func isHex(text string, size int) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == size && hex.EncodeToString(raw) == text
}
