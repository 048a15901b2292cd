package agent

import (
	"context"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// reach tells what an operation would touch, where its protocol can tell. Each
// look costs the server a session, so that a workload has few at a time.
func (a *Agent) reach(ctx context.Context, conn *protocol.Conn, op *operation.Operation) *operation.Reach {
	reacher, ok := a.Protocols[conn.Session.Protocol].(protocol.Reacher)
	if !ok {
		return nil
	}
	release, ok := a.looks.take(conn.Session.Workload.Kernel.NetnsCookie)
	if !ok {
		return &operation.Reach{Unknown: "other operations of this workload are being looked at"}
	}
	defer release()
	return reacher.Reach(ctx, conn, op)
}
