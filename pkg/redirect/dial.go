package redirect

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Dial connects to a protected destination from the agent's own network
// namespace. The socket is flagged before it connects; if that fails, so does
// the dial.
func (r *Redirect) Dial(ctx context.Context, dst netip.AddrPort) (*net.TCPConn, error) {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return control(raw, r.flag)
	}}
	dialer.SetMultipathTCP(false) // the flag would sit on another socket than the one that sends
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	conn, err := dialer.DialContext(ctx, "tcp", dst.String())
	if err != nil {
		return nil, fmt.Errorf("dial server: %w", err)
	}
	return conn.(*net.TCPConn), nil
}

// flag marks a socket as the agent's own.
func (r *Redirect) flag(fd int) error {
	if err := r.objects.AgentSockets.Put(int32(fd), uint8(1)); err != nil {
		return fmt.Errorf("flag socket: %w", err)
	}
	return nil
}

// control runs f on a connection's descriptor.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if controlErr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); controlErr != nil {
		return controlErr
	}
	return err
}
