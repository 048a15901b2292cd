package agent

import (
	"crypto/sha256"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// shapes is how operations of a protocol are compared with what was reviewed;
// nil where they cannot be.
func (a *Agent) shapes(name string) func(op *operation.Operation) [][sha256.Size]byte {
	shaper, ok := a.Protocols[name].(protocol.Shaper)
	if !ok {
		return nil
	}
	return shaper.Shapes
}
