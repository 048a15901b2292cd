package postgres

import (
	"bytes"
	"crypto/sha256"

	"github.com/sluicegate/sluice/pkg/operation"
)

// Shapes implements protocol.Shaper. A parameter of a type of a user is none
// that a reviewer could have known.
func (p *Postgres) Shapes(op *operation.Operation) [][sha256.Size]byte {
	if op.Kind != operation.Statement || !op.Parsed {
		return nil
	}
	for i := range op.Params {
		if op.Params[i].Type >= firstUserOID {
			return nil
		}
	}
	found, _ := p.analyzer.Exactly(bytes.Clone(textOf(op)))
	var digests [][sha256.Size]byte
	for i := range found {
		digests = append(digests, found[i].Digest)
	}
	return digests
}
