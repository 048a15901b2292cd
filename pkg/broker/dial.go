package broker

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// DialContext opens a connection of the proxy's own, as net.Dialer's does. What
// is protected is out of this process's reach too, so it gets a socket that may
// dial a server: who issues tokens can be a protected server as well.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	select {
	case <-c.told:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	protected, err := c.protectedAt(ctx, address)
	if err != nil {
		return nil, err
	}
	if len(protected) == 0 {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	var errs []error
	for _, to := range protected {
		fd, err := c.socket(ctx, to)
		if err != nil {
			return nil, err
		}
		conn, err := redirect.Connect(ctx, fd, to)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// protectedAt returns those of a name's addresses that are protected.
func (c *Client) protectedAt(ctx context.Context, address string) (protected []netip.AddrPort, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		to := netip.AddrPortFrom(addr.Unmap(), uint16(port))
		if _, found := c.Table().Lookup(to); found {
			protected = append(protected, to)
		}
	}
	return protected, nil
}
