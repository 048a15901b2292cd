// Package gitwire reads what git clients and servers say to each other over
// any transport: the command line that starts a service, pkt-lines, reference
// advertisements, pushes with their packs, and fetches. It serves one run of
// git-receive-pack, git-upload-pack or git-upload-archive between a client and
// a server, as one operation that the guard decides.
//
// It promises, of a push: nothing but the server's advertisement passes before
// the decision; what is forwarded is byte for byte what was decided about; and
// a ref is said not to be forced only where hashes prove it, or the server's
// own answer in a conversation that the client has no part in. Of a fetch: no
// object passes before the decision. It does not check that a pack is complete
// or well-formed beyond what decides that: the server does so itself, and it
// is also the server that refuses a ref whose old id is no longer the one that
// the client named.
//
// Packs are hostile input. They are decoded in one pass, and memory, size
// once inflated, and the work for deltas are bounded; content is never kept
// in memory beyond commits and tags.
//
// gitprotocol-pack(5), gitprotocol-v2(5), gitprotocol-capabilities(5) and
// gitformat-pack(5) are the specification. Where they leave room, the package
// takes what git itself sends, and refuses the rest.
package gitwire

import (
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// Limits bound what one push or fetch may cost. The zero value of a field
// means its default.
type Limits struct {
	Request  int    // bytes of commands, options and certificate, or of wants; default 8 MiB
	Pack     int64  // bytes of a pack; default 2 GiB
	Inflated int64  // bytes of all objects of a pack, as they are stored in it, inflated; default 16 GiB
	Objects  int    // objects of a pack; default 4 Mi
	Names    int    // objects of a pack that are recorded by name; default 100,000
	Memory   int    // bytes of a pack that are kept in memory; the rest goes to Dir; default 4 MiB
	Dir      string // where packs wait for their decision, in files without a name; default is the system's
}

func (l Limits) withDefaults() Limits {
	fallback(&l.Request, 8<<20)
	fallback(&l.Pack, 2<<30)
	fallback(&l.Inflated, 16<<30)
	fallback(&l.Objects, 4<<20)
	fallback(&l.Names, 100_000)
	fallback(&l.Memory, 4<<20)
	return l
}

func fallback[T int | int64](value *T, otherwise T) {
	if *value == 0 {
		*value = otherwise
	}
}

// errLimit is wrapped by every error that says a limit was reached.
var errLimit = errors.New("it is larger than this agent takes")

// violation reports what the peer of a leg may not send. The reason never
// holds its bytes.
func violation(leg protocol.Leg, format string, args ...any) error {
	return &protocol.Violation{Leg: leg, Reason: "git: " + fmt.Sprintf(format, args...)}
}
