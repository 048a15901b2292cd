package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	defaultBPFFS = "/sys/fs/bpf"
	mapPins      = "maps"
	linkPins     = "links"

	// A killed agent holds its lock until the last of its threads has given
	// back its maps and sockets, a while after the process seems to be gone.
	lockPatience = 3 * time.Second
)

// ErrInUse means that another agent holds these pins.
var ErrInUse = errors.New("another agent uses these pins")

// lockPins opens the directory of the pins, making it and mounting bpffs as
// needed, for this agent alone. The lock ends with the process; it waits a
// little for one that is ending.
func lockPins(path string) (*os.File, error) {
	if err := ensureBPFFS(path); err != nil {
		return nil, err
	}
	for _, dir := range []string{mapPins, linkPins, tcxPins} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o700); err != nil {
			return nil, fmt.Errorf("make directory for pins: %w", err)
		}
	}
	pins, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open pins: %w", err)
	}
	patience := time.After(lockPatience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for unix.Flock(int(pins.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		select {
		case <-again.C:
		case <-patience:
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, ErrInUse), pins.Close())
		}
	}
	return pins, nil
}

// ensureBPFFS mounts bpffs when path is not on one: at its usual place if path
// lies below it, else at path itself.
func ensureBPFFS(path string) error {
	at := path
	if strings.HasPrefix(path, defaultBPFFS+"/") {
		at = defaultBPFFS
	} else if on, err := onBPFFS(filepath.Dir(path)); err == nil && on {
		return nil
	} else if err := os.MkdirAll(at, 0o700); err != nil {
		return fmt.Errorf("make mount point for bpffs: %w", err)
	}
	on, err := onBPFFS(at)
	if err != nil || on {
		return err
	}
	if err := unix.Mount("bpf", at, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs at %s: %w", at, err)
	}
	return nil
}

func onBPFFS(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, fmt.Errorf("stat file system of %s: %w", path, err)
	}
	return st.Type == unix.BPF_FS_MAGIC, nil
}

// loadObjects loads the programs with the pinned maps where their layout still
// fits, and pins the maps that are new. When others use them, all must fit.
func loadObjects(pins string, objects *redirectObjects, inUse bool) error {
	spec, err := loadRedirect()
	if err != nil {
		return fmt.Errorf("read programs: %w", err)
	}
	dir := filepath.Join(pins, mapPins)
	reused := make(map[string]*ebpf.Map)
	defer func() {
		for _, m := range reused {
			_ = m.Close() // the collection has its own clone
		}
	}()
	if err := checkLayout(dir); err != nil {
		return err
	}
	for name := range mapsByName(&objects.redirectMaps) {
		m, err := pinnedMap(dir, name, spec.Maps[name], inUse)
		if err != nil {
			return err
		}
		if m != nil {
			reused[name] = m
		}
	}
	if err := spec.LoadAndAssign(objects, &ebpf.CollectionOptions{MapReplacements: reused}); err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	if err := pinLayout(dir, objects.LayoutVersion); err != nil {
		return err
	}
	return pinMaps(dir, &objects.redirectMaps, reused)
}

// pinnedMap returns the pinned map of this name if it has the wanted layout,
// and nil if there is none or it can be replaced, as none in use can.
func pinnedMap(dir, name string, want *ebpf.MapSpec, inUse bool) (*ebpf.Map, error) {
	path := filepath.Join(dir, name)
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned map %s: %w", name, err)
	}
	mismatch := want.Compatible(m)
	if mismatch == nil {
		return m, nil
	}
	if inUse || name == redirectMapDestinations || name == redirectMapHosts {
		return nil, errors.Join(fmt.Errorf("map %s: %w: %s", name, ErrIncompatible, wayForward), m.Close())
	}
	return nil, errors.Join(m.Unpin(), m.Close())
}

func pinMaps(dir string, maps *redirectMaps, reused map[string]*ebpf.Map) error {
	for name, m := range mapsByName(maps) {
		if reused[name] != nil {
			continue
		}
		if err := m.Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	return nil
}

func mapsByName(m *redirectMaps) map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		redirectMapAccepted:         m.Accepted,
		redirectMapAcceptedLineages: m.AcceptedLineages,
		redirectMapAgentControl:     m.AgentControl,
		redirectMapAgentSockets:     m.AgentSockets,
		redirectMapAsked:            m.Asked,
		redirectMapAskedLineages:    m.AskedLineages,
		redirectMapAskers:           m.Askers,
		redirectMapCounters:         m.Counters,
		redirectMapDestinations:     m.Destinations,
		redirectMapDropRates:        m.DropRates,
		redirectMapDrops:            m.Drops,
		redirectMapEnrolmentRates:   m.EnrolmentRates,
		redirectMapEnrolments:       m.Enrolments,
		redirectMapExemptCgroups:    m.ExemptCgroups,
		redirectMapExemptSockets:    m.ExemptSockets,
		redirectMapExemptions:       m.Exemptions,
		redirectMapLineages:         m.Lineages,
		redirectMapHosts:            m.Hosts,
		redirectMapNamespaces:       m.Namespaces,
		redirectMapPassages:         m.Passages,
		redirectMapPassageLineages:  m.PassageLineages,
		redirectMapOpenConnections:  m.OpenConnections,
		redirectMapPassageCounts:    m.PassageCounts,
		redirectMapProtectedPorts:   m.ProtectedPorts,
	}
}

// Uninstall removes every program and map of these pins. Protected destinations
// are open to everybody afterwards: it is the explicit uninstall.
func Uninstall(pins string) error {
	dir, err := os.Open(pins)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("uninstall %s: %w", pins, ErrInUse)
	}
	if err := deleteFilters(pins); err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	for _, sub := range []string{linkPins, lineagePins, tcxPins, mapPins} {
		if err := os.RemoveAll(filepath.Join(pins, sub)); err != nil {
			return fmt.Errorf("uninstall: %w", err)
		}
	}
	return removePins(dir)
}

// removePins removes the directory, or the bpffs that was mounted on it.
func removePins(dir *os.File) error {
	parentOn, err := onBPFFS(filepath.Dir(dir.Name()))
	if err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	if !parentOn {
		if err := unix.Unmount(dir.Name(), unix.MNT_DETACH); err != nil {
			return fmt.Errorf("uninstall: unmount bpffs: %w", err)
		}
	}
	if err := os.Remove(dir.Name()); err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	return nil
}
