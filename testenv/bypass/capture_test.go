package bypass

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// capture counts what arrives at the server's link, below every hook.
type capture struct {
	world *world
	fd    int
	ended chan struct{}

	mu     sync.Mutex
	counts arrivals
	token  uint64        // of the last sentinel; guarded by mu
	caught chan struct{} // closed when the sentinel is here; guarded by mu
}

// arrivals are packets since the capture began.
type arrivals struct {
	sealed  int // at the protected address and port, or where the port cannot be told
	control int // at the address that is not protected
}

// ethPAll is ETH_P_ALL in network byte order.
const ethPAll = 0x0300

func (w *world) newCapture() (*capture, error) {
	c := &capture{world: w, ended: make(chan struct{})}
	err := w.server.Do(func() (err error) {
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: ethPAll, Ifindex: link.Index})
	})
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	// So that the loop below sees its end.
	wake := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wake); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	stop := make(chan struct{})
	w.later(func() error { close(stop); <-c.ended; return nil })
	go c.run(stop)
	return c, nil
}

func (c *capture) close() error { return unix.Close(c.fd) }

func (c *capture) run(stop chan struct{}) {
	defer close(c.ended)
	for buffer := make([]byte, 65536); ; {
		n, from, err := unix.Recvfrom(c.fd, buffer, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return // and the next sentinel is never seen
		case from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING:
			c.count(buffer[:n])
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

func (c *capture) count(packet []byte) {
	dst, protocol, transport, readable := parse(packet)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.caught != nil && protocol == unix.IPPROTO_UDP && bytes.HasSuffix(packet, sentinel(c.token)) {
		close(c.caught)
		c.caught = nil
		return
	}
	if protocol == unix.IPPROTO_ICMP || protocol == unix.IPPROTO_ICMPV6 {
		return
	}
	port := -1
	if readable && len(transport) >= 4 && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_UDP) {
		port = int(binary.BigEndian.Uint16(transport[2:]))
	}
	switch dst {
	case c.world.server4, c.world.server6:
		if port == sealedPort || port < 0 {
			c.counts.sealed++
		}
	case c.world.open4, c.world.open6:
		c.counts.control++
	}
}

// parse reads an IP packet; readable means that its transport header is there.
func parse(p []byte) (dst netip.Addr, protocol byte, transport []byte, readable bool) {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		dst, _ = netip.AddrFromSlice(p[16:20])
		header := int(p[0]&15) * 4
		if binary.BigEndian.Uint16(p[6:])&0x3fff != 0 || len(p) < header {
			return dst, p[9], nil, false
		}
		return dst, p[9], p[header:], true
	case len(p) >= 40 && p[0]>>4 == 6:
		dst, _ = netip.AddrFromSlice(p[24:40])
		return dst, p[6], p[40:], true
	}
	return netip.Addr{}, 0, nil, false
}

func sentinel(token uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("the end of "), token)
}

// settled returns the counts after all that was sent before it has arrived.
func (c *capture) settled(t testing.TB) arrivals {
	t.Helper()
	conn, err := net.Dial("udp", netip.AddrPortFrom(c.world.open4, 9).String())
	must(t, err)
	defer conn.Close()
	caught := make(chan struct{})
	c.mu.Lock()
	c.token++
	c.caught = caught
	text := sentinel(c.token)
	c.mu.Unlock()
	_, err = conn.Write(text)
	must(t, err)
	select {
	case <-caught:
	case <-time.After(patience):
		t.Fatal("the capture does not see what the node sends")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}
