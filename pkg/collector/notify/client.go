package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrPrivate reports an address that a notifier must not reach: one of this
// machine or of a network that is not the Internet's.
var ErrPrivate = errors.New("the address is not a public one, and private_networks does not allow it")

// special are networks that are neither public nor private by netip's word
// (RFC 6890, RFC 6052): a name must not lead to them.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
}

// Guard says which addresses that are not public may be reached.
type Guard struct{ Private []netip.Prefix }

// check looks at the address that is about to be dialled, after the name was
// resolved: what a name leads to can change between two looks.
func (g Guard) check(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(g.Private, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return nil
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return fmt.Errorf("%w: %s", ErrPrivate, ip)
	}
	return nil
}

// dialer dials no address that the guard refuses.
func (g Guard) dialer() *net.Dialer { return &net.Dialer{Timeout: 10 * time.Second, Control: g.check} }

// client speaks HTTP through the guard. It follows no redirect and uses no
// proxy: either would reach what the guard has not seen.
func (g Guard) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: g.dialer().DialContext, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: longestTime, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends a request and wants 2xx.
func post(ctx context.Context, client *http.Client, r *http.Request) error {
	answer, err := client.Do(r.WithContext(ctx))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("the answer is %s", answer.Status)
	}
	return nil
}
