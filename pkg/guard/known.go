package guard

import (
	"context"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/operation"
)

// reachWithin is how long a request may wait for what is told with it.
const reachWithin = 2 * time.Second

// reach is what the operation would touch, as far as it is found out in time.
// Nothing that goes wrong there keeps anybody from being asked.
func (x *exchange) reach(ctx context.Context) *operation.Reach {
	if x.guard.Reach == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	return x.guard.Reach(ctx, x.op)
}

// before is what the session and its job did until now.
func (x *exchange) before() *approval.Before {
	g := x.guard
	b := &approval.Before{Operations: x.op.ID - 1, Denied: g.denied.Load(), Masked: g.masked.Load()}
	b.Same, b.First, b.Whole = g.History.before(x.op)
	return b
}
