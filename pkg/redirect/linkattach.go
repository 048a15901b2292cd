package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// tcxPins holds one pinned link for each program on a network link.
const tcxPins = "tcx"

// direction is the way of packets, seen from our end of a link.
type direction string

const (
	incoming direction = "in"
	outgoing direction = "out"
)

func (d direction) tcx() ebpf.AttachType {
	if d == incoming {
		return ebpf.AttachTCXIngress
	}
	return ebpf.AttachTCXEgress
}

// haveTCX tries: link 0 does not exist, and a kernel with tcx says just that.
func haveTCX(program *ebpf.Program) bool {
	_, err := link.AttachTCX(link.TCXOptions{Program: program, Attach: ebpf.AttachTCXIngress})
	return !errors.Is(err, ebpf.ErrNotSupported)
}

// put makes program the one that we have on a link; nil removes ours. Others'
// programs stay, and see what ours lets pass.
func (g *linkGuard) put(ifindex int, way direction, program *ebpf.Program) error {
	if g.filters {
		return g.putFilter(ifindex, way, program)
	}
	if program == nil {
		return g.remove(ifindex, way)
	}
	taken, err := g.takeOver(ifindex, way, program)
	if err != nil || taken {
		return err
	}
	return g.attach(ifindex, way, program)
}

// takeOver replaces the program of a pinned link. It returns false when there
// is none, or none that is still in force.
func (g *linkGuard) takeOver(ifindex int, way direction, program *ebpf.Program) (bool, error) {
	l, err := link.LoadPinnedLink(g.pin(ifindex, way), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open pinned link: %w", err)
	}
	defer func() { _ = l.Close() }() // the pin holds it
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("read pinned link: %w", err)
	}
	wanted, err := program.Info()
	if err != nil {
		return false, fmt.Errorf("read program: %w", err)
	}
	if at := info.TCX(); at == nil || int(at.Ifindex) != ifindex {
		return false, l.Unpin() // detached, or left from another link
	}
	if id, ok := wanted.ID(); ok && id == info.Program {
		return true, nil
	}
	if err := l.Update(program); err != nil {
		return false, fmt.Errorf("replace program: %w", err)
	}
	return true, nil
}

// attach comes before all other programs: one of theirs might end the chain.
func (g *linkGuard) attach(ifindex int, way direction, program *ebpf.Program) error {
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: ifindex, Program: program, Attach: way.tcx(), Anchor: link.Head(),
	})
	if err != nil {
		return err
	}
	if err := l.Pin(g.pin(ifindex, way)); err != nil {
		return errors.Join(fmt.Errorf("pin link: %w", err), l.Close())
	}
	return l.Close()
}

func (g *linkGuard) pin(ifindex int, way direction) string {
	return filepath.Join(g.pins, tcxPins, strconv.Itoa(ifindex)+"-"+string(way))
}

// remove detaches: the pin is all that holds the program there.
func (g *linkGuard) remove(ifindex int, way direction) error {
	if err := os.Remove(g.pin(ifindex, way)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("detach from link: %w", err)
	}
	return nil
}

// forgetLink removes what is left of a link that is gone, or that went to
// another namespace and took our programs along.
func (g *linkGuard) forgetLink(ifindex int) error {
	if g.filters {
		return nil // they went with their link
	}
	return errors.Join(g.remove(ifindex, incoming), g.remove(ifindex, outgoing))
}

// forgetOthers forgets all links that are not there.
func (g *linkGuard) forgetOthers(there map[int]bool) error {
	if g.filters {
		return nil
	}
	pins, err := os.ReadDir(filepath.Join(g.pins, tcxPins))
	if err != nil {
		return fmt.Errorf("list pinned links: %w", err)
	}
	var errs []error
	for _, pin := range pins {
		number, _, _ := strings.Cut(pin.Name(), "-")
		ifindex, err := strconv.Atoi(number)
		if err != nil || there[ifindex] {
			continue // not ours, or in force
		}
		errs = append(errs, g.forgetLink(ifindex))
	}
	return errors.Join(errs...)
}
