// Package guard holds the order of policy, approval and audit, in one
// function that reads top to bottom: exchange.Decide.
//
// It promises that nothing is allowed before its intent is in the trail, that
// every error on the way to a decision is a deny, and that each operation has
// one intent and one outcome there. It knows no wire protocol, evaluates no
// rule itself and counts no vote.
package guard

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
)

// Config is what the guard of one session works with.
type Config struct {
	Session *session.Session
	Policy  func() *policy.Policy // the one in force; it may be another for the next operation
	Trail   *audit.Session
	Desk    *approval.Desk // nil: what a rule holds is denied
	Agent   string         // this agent's name
	Cluster string
	Link    string // where a person can decide; "" for none
	Strict  bool   // every intent waits for the disk, reads too
	// Hold takes one of the workload's places for held operations; release
	// gives it back. It reports false when none is left.
	Hold func() (release func(), ok bool)
	// Observe lets everything go on: what policy says is recorded as what would
	// have been. Then Trail may be nil, and what cannot be recorded is told to
	// Lost and holds nothing up.
	Observe bool
	Lost    func(error)
	Unread  func() // with Observe: is told of each operation that nobody reads
	// Reach tells what an operation would touch, before its end of ctx; nil:
	// nobody can tell.
	Reach func(ctx context.Context, op *operation.Operation) *operation.Reach
	// Shapes returns the statements of an operation by their exact tokens; nil:
	// nothing can be compared with what was reviewed.
	Shapes func(op *operation.Operation) [][32]byte
	// History is what the workload was allowed; nil: it is not remembered.
	History *History
	// Stopped returns the order against this session, nil while there is none.
	Stopped func() *approval.Order
}

// Guard answers for the operations of one session. It is safe for concurrent
// use.
type Guard struct {
	Config

	last   atomic.Uint64 // id of the newest operation
	denied atomic.Uint64
	masked atomic.Uint64 // values

	defined atomic.Bool // the session has defined what was not reviewed
	used    sync.Map    // ids of pre-approvals whose signed bytes are in the trail
}

// New returns the guard of a session. The caller ends it with Close.
func New(cfg Config) *Guard { return &Guard{Config: cfg} }

// Begin opens the exchange of one operation and numbers it.
func (g *Guard) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	op.ID = g.last.Add(1)
	x := &exchange{guard: g, op: op, began: time.Now()}
	if g.Observe {
		return &observed{x}, nil
	}
	return x, nil
}

// Close ends the session's trail. Reason says who ended the session and why;
// it never holds bytes from the wire.
func (g *Guard) Close(reason string) error {
	if g.Trail == nil {
		return nil
	}
	return g.Trail.Close(record.Closed{Reason: reason})
}

// errOrder reports a plug-in that breaks the contract of protocol.Exchange.
var errOrder = errors.New("exchange: called out of order")
