package protocol

import (
	"crypto/sha256"

	"github.com/sluicegate/sluice/pkg/operation"
)

// Shaper is a Protocol whose operations can be compared with what people
// reviewed.
type Shaper interface {
	// Shapes returns the digests of the statements that an operation runs, by
	// their exact tokens; nil where it may do what these do not show.
	Shapes(op *operation.Operation) [][sha256.Size]byte
}
