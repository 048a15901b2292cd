package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// ErrIncompatible means that what an earlier agent pinned cannot be taken over.
// It is not thrown away silently, because that would unguard the destinations
// for a moment.
var ErrIncompatible = errors.New("pins of another version")

// wayForward ends the message of an ErrIncompatible.
const wayForward = "stop the jobs of this node, uninstall, and start again"

// layoutPin is the first map that is pinned, so that no other one is there
// without it. Its name is the map's.
const layoutPin = "layout_version"

// checkLayout compares the version of pinned maps with that of this program. A
// size that agrees would not tell that a field means something else.
func checkLayout(dir string) error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, layoutPin), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return checkUnpinned(dir)
	}
	if err != nil {
		return fmt.Errorf("open pinned layout: %w", err)
	}
	defer func() { _ = m.Close() }() // the pin holds it
	var version uint32
	if err := m.Lookup(uint32(0), &version); err != nil {
		return fmt.Errorf("read pinned layout: %w", err)
	}
	if version != uint32(redirectLayoutLAYOUT_VERSION) {
		return fmt.Errorf("maps have layout %d, this program has %d: %w: %s",
			version, redirectLayoutLAYOUT_VERSION, ErrIncompatible, wayForward)
	}
	return nil
}

// checkUnpinned makes sure that there are no maps without a layout.
func checkUnpinned(dir string) error {
	pins, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list pinned maps: %w", err)
	}
	if len(pins) > 0 {
		return fmt.Errorf("maps have no layout: %w: %s", ErrIncompatible, wayForward)
	}
	return nil
}

// pinLayout writes this program's version and pins it, unless it is pinned.
func pinLayout(dir string, m *ebpf.Map) error {
	path := filepath.Join(dir, layoutPin)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := m.Put(uint32(0), uint32(redirectLayoutLAYOUT_VERSION)); err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	if err := m.Pin(path); err != nil {
		return fmt.Errorf("pin layout: %w", err)
	}
	return nil
}
