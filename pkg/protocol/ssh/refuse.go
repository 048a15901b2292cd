package ssh

import (
	"context"
	"errors"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// remindEvery is how often a client that waits is told so.
const remindEvery = 10 * time.Second

var errEnded = errors.New("the operation has ended")

// refusal says in words for the client why an operation was refused.
func refusal(d protocol.Decision, err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "sluice: it was withdrawn"
	case err != nil:
		return "sluice: it could not be decided, so it is refused"
	}
	return d.Refusal()
}

// reminder says that the client waits. One has to be made for each operation.
type reminder struct{ protocol.Reminder }

// text is what to say now; "" for nothing.
func (r *reminder) text(why protocol.Waiting) string {
	if !r.Due(why.Elapsed, remindEvery) {
		return ""
	}
	return why.String()
}
