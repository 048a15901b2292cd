package redirect

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sluicegate/sluice/pkg/workload"
)

// Accepted is a connection that a workload opened to a protected destination.
// It belongs to whoever got it from Accept. Its close resets it, unless
// SetLinger(-1) said before that it ended as it should.
type Accepted struct {
	Conn   *net.TCPConn
	Origin Origin
}

// Origin is what the kernel recorded when the workload called connect. The
// workload can choose where to connect and cannot forge the rest.
type Origin struct {
	Destination netip.AddrPort
	CgroupID    uint64 // of the process that called connect
	NetnsCookie uint64 // of the socket
	PID         uint32 // thread group, in the initial pid namespace
	UID         uint32 // in the initial user namespace
	// Started is when that process started. It is exact within one run of the
	// agent; compared with /proc/PID/stat it may differ by a clock tick.
	Started time.Time
	// Lineage is that of the thread that called connect; nil: unknown.
	Lineage *workload.Lineage
}

// Accept returns the next connection whose record was found and agrees with the
// listener that it came through. It ends with ctx, or with net.ErrClosed.
func (r *Redirect) Accept(ctx context.Context) (*Accepted, error) {
	select {
	case a := <-r.accepted:
		return a, nil
	case <-r.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// errNoRecord means that the connection did not come through our connect hook.
var errNoRecord = errors.New("connection without a record")

// errWrongNamespace means that a record and its listener disagree.
var errWrongNamespace = errors.New("record of another network namespace")
