package approval

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/sluicegate/sluice/pkg/operation"
)

// actionTag separates this hash from every other one.
const actionTag = "sluice approval action v3"

// ActionHash returns the hex SHA-256 over everything that decides what an
// operation does: the exact bytes to be forwarded, the bound values and their types, database,
// role, search path and transaction, and for whom, where and under which
// policy it would run. Every field is preceded by its length, so that no two
// actions hash the same input.
func ActionHash(op *operation.Operation, resource, principal, policy string) string {
	h := sha256.New()
	writeField(h, []byte(actionTag))
	writeField(h, []byte(op.Kind))
	writeField(h, op.Bytes)
	writeField(h, op.Source)
	writeNumber(h, uint64(len(op.Params)))
	for _, param := range op.Params {
		writeFlag(h, param.Null)
		writeFlag(h, param.Binary)
		writeNumber(h, uint64(param.Type))
		writeField(h, param.Text.Reveal())
	}
	writeField(h, []byte(op.Context.Database))
	writeField(h, []byte(op.Context.Role))
	writeField(h, []byte(op.Context.SearchPath))
	writeFlag(h, op.Context.InTransaction)
	writeField(h, []byte(resource))
	writeField(h, []byte(principal))
	writeField(h, []byte(policy))
	return hex.EncodeToString(h.Sum(nil))
}

func writeField(h hash.Hash, field []byte) {
	writeNumber(h, uint64(len(field)))
	h.Write(field)
}

func writeNumber(h hash.Hash, n uint64) {
	h.Write(binary.BigEndian.AppendUint64(nil, n))
}

func writeFlag(h hash.Hash, flag bool) {
	if flag {
		h.Write([]byte{1})
		return
	}
	h.Write([]byte{0})
}
