package broker

import (
	"context"
	"net/netip"
	"sync/atomic"
)

const (
	// socketsKept is how many sockets of one family wait to be connected.
	socketsKept = 32
	// socketsAtOnce is how many come at once.
	socketsAtOnce = 16
)

// sockets are of one family, and may dial a destination. They were made ahead, so
// that no connection waits until the privileged half has made one.
type sockets struct {
	version byte // 4 or 6
	kept    chan int
	asking  atomic.Bool
}

func newSockets(version byte) *sockets {
	return &sockets{version: version, kept: make(chan int, socketsKept)}
}

// socket returns a socket that may dial a destination of an address's family.
func (c *Client) socket(ctx context.Context, to netip.AddrPort) (fd int, err error) {
	s := c.v6
	if to.Addr().Unmap().Is4() {
		s = c.v4
	}
	defer c.refill(s)
	select {
	case fd := <-s.kept:
		return fd, nil
	default:
	}
	got, err := c.ask(ctx, kindSocket, []byte{s.version, 1}, 1)
	if err != nil {
		return -1, err
	}
	return got.fds[0], nil
}

// refill asks for sockets where there is room for all that come at once. Nobody
// waits for it.
func (c *Client) refill(s *sockets) {
	if len(s.kept) > socketsKept-socketsAtOnce || !s.asking.CompareAndSwap(false, true) {
		return
	}
	c.filling.Go(func() {
		defer s.asking.Store(false)
		got, err := c.ask(context.Background(), kindSocket, []byte{s.version, socketsAtOnce}, socketsAtOnce)
		if err != nil {
			return // whoever needs one asks, and is told why not
		}
		for _, fd := range got.fds {
			s.kept <- fd // has room: nobody else fills it
		}
	})
}

// close closes what was not used. Nobody may ask any more.
func (s *sockets) close() {
	for {
		select {
		case fd := <-s.kept:
			closeAll([]int{fd})
		default:
			return
		}
	}
}
