package protocol

import (
	"context"

	"github.com/sluicegate/sluice/pkg/operation"
)

// Reacher is a Protocol that can tell what an operation would touch.
type Reacher interface {
	// Reach finds that out for the person who is about to be asked about op,
	// without any effect of its own: it runs nothing of op and nothing that a
	// user of the server wrote. It uses connections that it opens itself with
	// conn.Dial and conn.Credential, never the session's. It returns when ctx
	// ends, with what it knows by then, and nil where there is nothing to tell.
	Reach(ctx context.Context, conn *Conn, op *operation.Operation) *operation.Reach
}
