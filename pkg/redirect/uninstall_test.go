package redirect_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// inKernel are the things of one agent that the kernel keeps, by what they are.
type inKernel map[string]func() error

// installed lists the programs, links and maps behind an agent's pins.
func installed(t *testing.T, pins string) inKernel {
	t.Helper()
	all := inKernel{}
	must(t, filepath.WalkDir(pins, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) == ".debug" { // the kernel's own, in every bpffs
			return err
		}
		if l, err := link.LoadPinnedLink(path, nil); err == nil {
			return errors.Join(all.addLink(l), l.Close())
		}
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return fmt.Errorf("%s is neither a link nor a map: %w", path, err)
		}
		return errors.Join(all.addMap(m), m.Close())
	}))
	return all
}

func (k inKernel) addLink(l link.Link) error {
	info, err := l.Info()
	if err != nil {
		return err
	}
	k[fmt.Sprintf("link %d", info.ID)] = func() error {
		l, err := link.NewFromID(info.ID)
		if err != nil {
			return err
		}
		return l.Close()
	}
	k[fmt.Sprintf("program %d", info.Program)] = func() error {
		p, err := ebpf.NewProgramFromID(info.Program)
		if err != nil {
			return err
		}
		return p.Close()
	}
	return nil
}

func (k inKernel) addMap(m *ebpf.Map) error {
	info, err := m.Info()
	if err != nil {
		return err
	}
	id, ok := info.ID()
	if !ok {
		return errors.New("a map has no id")
	}
	k[fmt.Sprintf("map %d", id)] = func() error {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return err
		}
		return m.Close()
	}
	return nil
}

func TestUninstallLeavesNothing(t *testing.T) {
	l := newLab(t)
	all := installed(t, l.pins)
	if len(all) < 2*10 {
		t.Fatalf("an agent has no more than %v", all)
	}
	l.stop()
	must(t, l.agent.Close())
	for what, open := range all {
		if err := open(); err != nil {
			t.Errorf("%s is gone before the uninstall: %v", what, err)
		}
	}
	must(t, redirect.Uninstall(l.pins))
	if _, err := os.Stat(l.pins); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the pins' directory is still there: %v", err)
	}
	// The kernel lets go of what nobody holds a moment later.
	for what, open := range all {
		eventually(t, what+" is gone", func() bool { return errors.Is(open(), fs.ErrNotExist) })
	}
}
