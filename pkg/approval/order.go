package approval

import (
	"crypto"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/workload"
)

// OrderKind is what an order wants done.
type OrderKind string

// The kinds of order.
const (
	Kill       OrderKind = "kill"       // end one session
	Quarantine OrderKind = "quarantine" // end all sessions of a workload or a run, and refuse new ones
	Release    OrderKind = "release"    // lift a quarantine
)

// MaxOrder is how long an order can last.
const MaxOrder = 30 * 24 * time.Hour

// containerDigits is the shortest beginning of a container id that names it,
// as the Engine's own commands print it.
const containerDigits = 12

// Order tells agents to stop somebody, or to let them go on. Anybody of the
// roster can give one: to stop a job is the safe side. The console's key signs
// for them only where the roster says so. Exactly one of Session, Container, Run
// and Lifts is set.
type Order struct {
	ID        string    `json:"id"` // from NewID
	Kind      OrderKind `json:"kind"`
	Session   string    `json:"session,omitempty"`   // of a kill
	Container string    `json:"container,omitempty"` // of a quarantine: an id or at least its first 12 digits
	Run       string    `json:"run,omitempty"`       // of a quarantine: workload.Run.ID
	Lifts     string    `json:"lifts,omitempty"`     // of a release: the id of a quarantine or a pre-approval
	By        string    `json:"by"`                  // name in the roster
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`
	Expires   time.Time `json:"expires"`
	Login     *Login    `json:"login,omitempty"` // set exactly when the console's key signs
}

// SignOrder signs an order with the key of the person who gives it, or with the
// console's.
func SignOrder(o Order, key crypto.Signer) ([]byte, error) {
	o.At, o.Expires = o.At.Round(0).UTC(), o.Expires.Round(0).UTC()
	o.Reason = Printable(o.Reason, maxNote)
	o.Login = o.Login.rounded()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("sign order: %w", err)
	}
	sealed, err := seal(orderType, o, key)
	if err != nil {
		return nil, fmt.Errorf("sign order: %w", err)
	}
	return sealed, nil
}

// OpenOrder returns an order that somebody of the roster signed, if it is in
// force now.
func OpenOrder(signed []byte, roster *Roster, now time.Time) (Order, error) {
	if roster == nil {
		return Order{}, ErrNoRoster
	}
	if !now.Before(roster.NotAfter) {
		return Order{}, ErrRosterExpired
	}
	console := ""
	if roster.ConsoleOrders {
		console = roster.Console
	}
	var o Order
	person, by, err := openSigned(signed, orderType, &o, func() string { return o.By }, roster, console)
	if err == nil {
		err = errors.Join(o.validate(), checkLogin(o.Login, o.At, person, by))
	}
	if err == nil && (!now.Before(o.Expires) || o.At.After(now.Add(clockSkew))) {
		err = ErrVoteTime
	}
	if err != nil {
		return Order{}, fmt.Errorf("open order: %w", err)
	}
	return o, nil
}

// TakesBack reports whether the order takes back what has an id. What a person
// signed with their own key is taken back by such a key alone: else whoever had
// the console's could let go on what that person stopped.
func (o *Order) TakesBack(id string, byConsole bool) bool {
	return o.Kind == Release && o.Lifts == id && (byConsole || !o.ByConsole())
}

// ByConsole reports whether the console's key signed an order, as far as
// OpenOrder believes it.
func (o *Order) ByConsole() bool { return o.Login != nil }

// Stops reports whether the order is against a session of a workload.
func (o *Order) Stops(session string, w *workload.Workload) bool {
	switch {
	case o.Kind == Kill:
		return o.Session == session
	case o.Kind != Quarantine:
		return false
	case o.Container != "":
		return strings.HasPrefix(w.Kernel.Container, o.Container)
	}
	return w.Run().ID == o.Run
}

func (o *Order) validate() error {
	set := 0
	for _, subject := range []string{o.Session, o.Container, o.Run, o.Lifts} {
		if subject != "" {
			set++
		}
	}
	fits := o.Kind == Kill && o.Session != "" ||
		o.Kind == Quarantine && (len(o.Container) >= containerDigits || o.Run != "") ||
		o.Kind == Release && isID(o.Lifts)
	switch {
	case !isID(o.ID):
		return errors.New("id is not 128 bits in hex")
	case set != 1 || !fits:
		return errors.New("it must name one session to kill, one container (12 digits or more) or run for a quarantine, or one quarantine to lift")
	case o.By == "":
		return errors.New("who gives it is not named")
	case o.Login != nil && !o.Login.Account.complete():
		return errors.New("the login names no account")
	case !o.Expires.After(o.At) || o.Expires.Sub(o.At) > MaxOrder:
		return fmt.Errorf("it must last between a moment and %v", MaxOrder)
	}
	return nil
}
