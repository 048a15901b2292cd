package redirect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// linksInterval is how often all links are looked at, whatever was or was
	// not announced: somebody may have removed a program.
	linksInterval = 5 * time.Second
	// linksRetry is the pause after the kernel's announcements ended, as they
	// do when too many came at once.
	linksRetry = 100 * time.Millisecond
)

// linkGuard keeps programs on the links of the agent's own network namespace:
// on the near ends of containers' links, so that AF_PACKET finds no way out,
// and on whatever leads out of the node. Only one goroutine uses it at a time.
type linkGuard struct {
	log      *zap.Logger
	programs *redirectPrograms
	pins     string // directory of the agent's pins
	filters  bool   // the kernel has no tcx: programs hang on tc filters
	raise    func(Alert)
}

// newLinkGuard finds out how this kernel attaches programs to links.
func newLinkGuard(pins string, programs *redirectPrograms, raise func(Alert), log *zap.Logger) *linkGuard {
	return &linkGuard{
		log: log, programs: programs, pins: pins, raise: raise,
		filters: !haveTCX(programs.RedirectLinkIn),
	}
}

// run follows the links that come and go until ctx ends.
func (g *linkGuard) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := g.follow(ctx); err != nil {
			g.log.Warn("new links are guarded late", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(linksRetry):
		}
	}
	return nil
}

// follow guards links as they are announced. It ends with ctx, or with an error
// when announcements were lost.
func (g *linkGuard) follow(ctx context.Context) error {
	announced := make(chan netlink.LinkUpdate)
	done := make(chan struct{})
	if err := netlink.LinkSubscribeWithOptions(announced, done, netlink.LinkSubscribeOptions{}); err != nil {
		return fmt.Errorf("follow links: %w", err)
	}
	defer func() {
		close(done)
		for range announced { // until the subscription has noticed
			continue
		}
	}()
	tick := time.NewTicker(linksInterval)
	defer tick.Stop()
	for {
		g.report(g.coverAll())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case update, ok := <-announced:
			if !ok {
				return errors.New("follow links: announcements were lost")
			}
			g.report(g.coverIndex(int(update.Index)))
			continue
		}
	}
}

// coverAll brings every link into its state.
func (g *linkGuard) coverAll() error {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	there := make(map[int]bool)
	for _, l := range links {
		there[l.Attrs().Index] = true
		errs = append(errs, g.cover(l))
	}
	if err == nil {
		errs = append(errs, g.forgetOthers(there))
	}
	return errors.Join(errs...)
}

// coverIndex brings one link into its state. It is read anew: an announcement
// tells only a part, and may be out of date.
func (g *linkGuard) coverIndex(ifindex int) error {
	l, err := netlink.LinkByIndex(ifindex)
	if isLinkGone(err) {
		return g.forgetLink(ifindex)
	}
	if err != nil {
		return fmt.Errorf("look at link %d: %w", ifindex, err)
	}
	return g.cover(l)
}

// cover attaches the programs that a link must have, and no others.
func (g *linkGuard) cover(l netlink.Link) error {
	attrs := l.Attrs()
	in, out := g.wanted(l)
	err := errors.Join(g.put(attrs.Index, incoming, in), g.put(attrs.Index, outgoing, out))
	if isLinkGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("guard link %s: %w", attrs.Name, err)
	}
	return nil
}

// wanted returns the programs for what comes in through a link and for what
// goes out; nil means none.
func (g *linkGuard) wanted(l netlink.Link) (in, out *ebpf.Program) {
	attrs := l.Attrs()
	switch attrs.EncapType {
	case "ether":
	case "none", "ppp", "ipip", "sit", "tunnel6", "gre", "gre6":
		return nil, g.programs.RedirectLinkOutBare
	default: // loopback, and what carries no IP
		return nil, nil
	}
	if leadsAway(l) {
		in = g.programs.RedirectLinkIn
	}
	if attrs.MasterIndex != 0 {
		return in, g.programs.RedirectLinkOutPort
	}
	return in, g.programs.RedirectLinkOut
}

// leadsAway reports that somebody else's packets come in through a link: a
// container's or a virtual machine's. A pair whose ends are both ours carries
// our own, the agent's among them. While it is down, its other end may still be
// about to move.
func leadsAway(l netlink.Link) bool {
	switch l.Type() {
	case "tuntap":
		return true
	case "veth", "netkit":
		up := l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
		return l.Attrs().NetNsID >= 0 || !up
	}
	return false
}

// report raises what could not be done: packets may pass there.
func (g *linkGuard) report(err error) {
	if err == nil {
		return
	}
	g.log.Error("a link is not guarded", zap.Error(err))
	g.raise(Alert{Kind: AlertUnguardedLink, Count: 1, Detail: err.Error()})
}

// isLinkGone reports that a link vanished while we looked at it.
func isLinkGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.As(err, new(netlink.LinkNotFoundError))
}

// behind names the link that a packet came through, and the cookie of the
// namespace at its other end if the agent knows that one.
func (r *Redirect) behind(ifindex int) (name string, cookie uint64) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return fmt.Sprintf("%d", ifindex), 0 // it is gone
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range r.enrolled {
		id, err := netlink.GetNetNsIdByFd(int(ns.file.Fd()))
		if err == nil && id >= 0 && id == l.Attrs().NetNsID {
			return l.Attrs().Name, ns.cookie
		}
	}
	return l.Attrs().Name, 0
}
