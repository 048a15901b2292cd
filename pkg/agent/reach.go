package agent

import (
	"context"
	"runtime/debug"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// reach tells what an operation would touch, where its protocol can tell. Each
// look costs the server a session, so that a workload has few at a time.
func (a *Agent) reach(ctx context.Context, conn *protocol.Conn, op *operation.Operation) (found *operation.Reach) {
	reacher, ok := a.Protocols[conn.Session.Protocol].(protocol.Reacher)
	if !ok {
		return nil
	}
	release, ok := a.looks.take(conn.Session.Workload.Kernel.NetnsCookie)
	if !ok {
		return &operation.Reach{Unknown: "other operations of this workload are being looked at"}
	}
	defer release()
	defer func() {
		if recover() != nil {
			// The panic's value may quote the wire; the stack does not.
			conn.Log.Error("A look at a server panicked", zap.ByteString("stack", debug.Stack()))
			found = &operation.Reach{Unknown: "the look at the server failed"}
		}
	}()
	return reacher.Reach(ctx, conn, op)
}
