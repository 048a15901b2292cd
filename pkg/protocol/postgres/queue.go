package postgres

import (
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// debtKind says which message the server owes an answer to.
type debtKind uint8

const (
	oweParse debtKind = iota
	oweBind
	oweDescribe
	oweExecute
	oweClose
	oweSync
	oweQuery
	oweCall
)

// debt is an answer that the server owes, in the order of what was sent.
type debt struct {
	kind    debtKind
	own     bool       // we asked, the client sees nothing of the answer
	purpose purpose    // why we asked
	op      *op        // of an execute, a query or a call
	stmt    *statement // of a parse, or a describe of a statement
	portal  *portal    // of a bind, a describe of a portal, or an execute
	undo    undo       // what a failure takes back
	weight  int        // bytes of memory that it keeps

	ended int // how often COPY data ended before the server asked for any
	syncs int // that came before the first of these ends
}

// purpose says why we asked the server something.
type purpose uint8

const (
	forNothing  purpose = iota
	forError            // to make the transaction fail as the client believes; answered by a refusal
	forProbe            // to learn the columns of a statement before it runs
	forCatalog          // to learn what is masked
	forStanding         // to learn as whom statements run, and where names are looked for
	forBegin            // to count rows before they are committed
	forTally            // to count rows
	forDeferred         // to have done what would be done at the commit, and is to be counted
	forEnd              // to commit or undo them; answered by the end of the client's query
)

// queue holds the debts, oldest first.
type queue struct {
	debts  []debt
	first  int
	weight int // of all debts
}

func (q *queue) len() int { return len(q.debts) - q.first }

func (q *queue) push(d debt) {
	q.weight += d.weight
	q.debts = append(q.debts, d)
}

// maxDebts bounds a pipeline. The server has sent most of the answers to so
// many messages before it needs a Sync: its buffer is 8 KiB, an answer at least
// 5 bytes.
const maxDebts = 4096

// heavy reports whether the client has to wait for answers before it may ask
// more.
func (q *queue) heavy(limit int) bool { return q.len() >= maxDebts || q.weight > limit }

// head returns the oldest debt, or nil. It is valid until the next push or pop.
func (q *queue) head() *debt {
	if q.len() == 0 {
		return nil
	}
	return &q.debts[q.first]
}

func (q *queue) pop() debt {
	d := q.debts[q.first]
	q.weight -= d.weight
	q.debts[q.first] = debt{}
	q.first++
	if q.first == len(q.debts) {
		q.debts, q.first = q.debts[:0], 0
	} else if q.first >= 64 && q.first*2 >= len(q.debts) {
		n := copy(q.debts, q.debts[q.first:])
		clear(q.debts[n:])
		q.debts, q.first = q.debts[:n], 0
	}
	return d
}

// copies returns the debt that COPY data from the client belongs to: the last
// operation that was forwarded. Without one the server would ignore the data.
func (q *queue) copies() *debt {
	for i := len(q.debts) - 1; i >= q.first; i-- {
		if d := &q.debts[i]; d.op != nil && !d.own {
			return d
		}
	}
	return nil
}

// endCopy notes that COPY data ended although the server has not asked for it
// yet: what the client sends now the server reads as usual.
func (q *queue) endCopy() {
	d := q.copies()
	if d == nil {
		return
	}
	if d.ended == 0 {
		d.syncs = 0
		for i := len(q.debts) - 1; &q.debts[i] != d; i-- {
			if q.debts[i].kind == oweSync {
				d.syncs++
			}
		}
	}
	d.ended++
}

// beginCopy notes that the head makes the server read COPY data. It ignores
// the syncs directly behind it, up to the data's end. It reports whether more
// of the data is still to come.
func (q *queue) beginCopy() (more bool) {
	head := q.head()
	drop := q.len()
	if head.ended > 0 {
		drop = head.syncs
		head.ended, head.syncs = head.ended-1, 0
	} else {
		more = true
	}
	for ; drop > 0 && q.len() > 1 && q.debts[q.first+1].kind == oweSync; drop-- {
		q.debts = append(q.debts[:q.first+1], q.debts[q.first+2:]...)
	}
	return more
}

// op is an operation and the memory of what it says.
type op struct {
	protocol.Pending
	touched bool // may concern a masked relation: its errors are not the server's own
	vouched bool // catalog.vouches when it was understood
	copies  copyPlan
	limit   *limit // on the rows that it changes

	analysis  *sqltext.Analysis  // what the text says
	ran       *sqltext.Statement // what it runs or reads by a name
	statement int                // of the text, the one that is being answered
	params    []operation.Param
	sql       operation.SQL
	text      []byte
	values    []byte
	refusal   []byte // the ErrorResponse that the client gets instead of an answer

	reminder protocol.Reminder // that the client waits
}

// end sets how the operation ended, keeping what was counted.
func (o *op) end(outcome protocol.Outcome) {
	outcome.Rows, outcome.Masked = o.Outcome.Rows, o.Outcome.Masked
	if outcome.Tag == "" {
		outcome.Tag = o.Outcome.Tag
	}
	o.Outcome = outcome
}

// refuse notes why the operation is refused. rule is the mask or the limit that
// does it, or empty when the guard did.
func (o *op) refuse(code, message, rule string) {
	o.refusal = appendError(o.refusal[:0], "ERROR", code, message)
	o.Outcome = protocol.Outcome{Status: protocol.Refused, Code: code, Rule: rule, Tag: o.Outcome.Tag}
}

// newOp returns an operation with empty memory.
func (c *conversation) newOp(kind operation.Kind) *op {
	var o *op
	if n := len(c.spare); n > 0 {
		o, c.spare = c.spare[n-1], c.spare[:n-1]
		*o = op{params: o.params[:0], text: o.text[:0], values: o.values[:0], refusal: o.refusal[:0], sql: operation.SQL{Statements: o.sql.Statements[:0]}}
	} else {
		o = new(op)
	}
	o.Operation.Kind = kind
	o.Operation.Context = operation.Context{
		Database:      c.start.database,
		Role:          c.standing.role,
		SearchPath:    c.standing.searchPath,
		InTransaction: c.status != 'I' || c.begun,
		Unknown:       c.phase == ready && !c.conn.Observe && c.standing.stale(),
	}
	return o
}

// finish ends what a debt stood for.
func (c *conversation) finish(d debt, outcome protocol.Outcome) {
	if d.op != nil {
		d.op.end(outcome)
		c.settle(d.op)
	}
	c.prepared.release(d.portal)
}

// settle reports the end of an operation and keeps its memory for the
// next, which is free once the actions of this call were done.
func (c *conversation) settle(o *op) {
	if c.counting == o {
		c.counting = nil
	}
	c.act(protocol.Action{Kind: protocol.Done, Op: &o.Pending})
	if cap(o.text)+cap(o.values) < 64<<10 {
		c.retired = append(c.retired, o)
	}
}
