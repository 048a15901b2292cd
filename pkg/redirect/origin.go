package redirect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
)

// Accepted is a connection that a workload opened to a protected destination.
// It belongs to whoever got it from Accept.
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

// originOf reads an accepted connection's record.
func (r *Redirect) originOf(conn *net.TCPConn, cookie uint64) (Origin, error) {
	var found redirectOrigin
	raw, err := conn.SyscallConn()
	if err != nil {
		return Origin{}, fmt.Errorf("read record: %w", err)
	}
	err = control(raw, func(fd int) error { return r.objects.Accepted.Lookup(int32(fd), &found) })
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return Origin{}, errNoRecord
	}
	if err != nil {
		return Origin{}, fmt.Errorf("read record: %w", err)
	}
	origin := Origin{
		Destination: netip.AddrPortFrom(address(found.Destination.Word), networkOrder(found.Port)),
		CgroupID:    found.CgroupId,
		NetnsCookie: found.NetnsCookie,
		PID:         found.Pid,
		UID:         found.Uid,
		Started:     r.booted.Add(time.Duration(found.ProcessStartNs)),
	}
	if origin.NetnsCookie != cookie {
		return origin, errWrongNamespace
	}
	return origin, nil
}
