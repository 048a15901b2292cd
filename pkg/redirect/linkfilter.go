package redirect

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Kernels before 6.6 have no tcx. There a program hangs on a filter of the
// clsact queueing discipline, which nothing has to hold: it goes with its link.

// filterPriority lets our filters come before all others: one of theirs might
// end the chain.
const filterPriority = 1

// filterName tells our filters from other agents'.
func filterName(pins string) string { return "sluice " + pins }

func (d direction) parent() uint32 {
	if d == incoming {
		return netlink.HANDLE_MIN_INGRESS
	}
	return netlink.HANDLE_MIN_EGRESS
}

// putFilter makes program the one of our filter on a link; nil removes it.
func (g *linkGuard) putFilter(ifindex int, way direction, program *ebpf.Program) error {
	found, err := findFilter(ifindex, way, filterName(g.pins))
	if err != nil {
		return err
	}
	if program == nil {
		return deleteFilter(found)
	}
	info, err := program.Info()
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	if id, ok := info.ID(); ok && found != nil && int(id) == found.Id {
		return nil
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: ifindex, Parent: way.parent(), Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Fd: program.FD(), Name: filterName(g.pins), DirectAction: true,
	}
	if found != nil {
		filter.Handle = found.Handle
		if err := netlink.FilterReplace(filter); err != nil {
			return fmt.Errorf("replace filter: %w", err)
		}
		return nil
	}
	if err := addClsact(ifindex); err != nil {
		return err
	}
	if err := netlink.FilterAdd(filter); err != nil {
		return fmt.Errorf("add filter: %w", err)
	}
	return nil
}

func addClsact(ifindex int) error {
	err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add clsact: %w", err)
	}
	return nil
}

// findFilter returns nil when there is none of this name.
func findFilter(ifindex int, way direction, name string) (*netlink.BpfFilter, error) {
	on := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: ifindex}}
	filters, err := netlink.FilterList(on, way.parent())
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil, nil // nothing to hang a filter on
	}
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	for _, f := range filters {
		if ours, ok := f.(*netlink.BpfFilter); ok && ours.Name == name {
			return ours, nil
		}
	}
	return nil, nil
}

func deleteFilter(f *netlink.BpfFilter) error {
	if f == nil {
		return nil
	}
	if err := netlink.FilterDel(f); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete filter: %w", err)
	}
	return nil
}

// deleteFilters removes the filters of these pins from every link, and the
// queueing discipline where no other filter uses it.
func deleteFilters(pins string) error {
	links, err := everyLink()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, l := range links {
		if err := deleteFiltersOn(l, filterName(pins)); err != nil && !isLinkGone(err) {
			errs = append(errs, fmt.Errorf("link %s: %w", l.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}

// everyLink lists the links until nothing changed meanwhile, which the kernel
// tells, or it was asked often enough.
func everyLink() (links []netlink.Link, err error) {
	for range 10 {
		links, err = netlink.LinkList()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return links, err
}

func deleteFiltersOn(l netlink.Link, name string) error {
	had, others := false, 0
	for _, way := range []direction{incoming, outgoing} {
		found, err := findFilter(l.Attrs().Index, way, name)
		if err != nil {
			return err
		}
		if err := deleteFilter(found); err != nil {
			return err
		}
		had = had || found != nil
		left, err := netlink.FilterList(l, way.parent())
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("list filters: %w", err)
		}
		others += len(left)
	}
	if !had || others > 0 {
		return nil
	}
	return netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
}
