package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/sluicegate/sluice/pkg/workload"
)

const (
	// lineagePins holds the links of the programs of lineage.bpf.c.
	lineagePins = "lineage"

	// longestName is shorter than what the kernel keeps of a name (TASK_COMM_LEN):
	// one that it has shortened is never taken for another.
	longestName = 14
)

// tracing is what records lineages.
type tracing struct {
	objects lineageObjects
	links   []link.Link
}

// tracer is one program and the name of its pin.
type tracer struct {
	name    string
	program *ebpf.Program
}

// tracers are in the order of attachment: what ends a lineage comes first, so that
// none is there that nobody ends.
func (t *tracing) tracers() []tracer {
	return []tracer{
		{lineageProgLineageExit, t.objects.LineageExit},
		{lineageProgLineageFork, t.objects.LineageFork},
		{lineageProgLineageExec, t.objects.LineageExec},
	}
}

// newTracing loads the programs, which write into a map that the others read.
func newTracing(lineages *ebpf.Map) (*tracing, error) {
	spec, err := loadLineage()
	if err != nil {
		return nil, fmt.Errorf("read programs: %w", err)
	}
	t := &tracing{}
	shared := map[string]*ebpf.Map{lineageMapLineages: lineages}
	if err := spec.LoadAndAssign(&t.objects, &ebpf.CollectionOptions{MapReplacements: shared}); err != nil {
		return nil, fmt.Errorf("load programs: %w", err)
	}
	if err := nameAgents(t.objects.AgentPrograms); err != nil {
		return nil, errors.Join(err, t.objects.Close())
	}
	return t, nil
}

// nameAgents tells the programs how the known AI agents are called. A memory
// file is called after what it was made as.
func nameAgents(m *ebpf.Map) error {
	for i, product := range workload.Products {
		for _, name := range product.Programs {
			if len(name) > longestName {
				return fmt.Errorf("name of program %q is too long", name)
			}
			for _, called := range []string{name, "memfd:" + name} {
				var key lineageProgramName
				copy(key.Bytes[:], called)
				if err := m.Put(key, uint8(i+1)); err != nil {
					return fmt.Errorf("name program: %w", err)
				}
			}
		}
	}
	return nil
}

// attach puts the programs in force, in the place of those that are. A kernel
// cannot replace the program of such a link: for a moment both run, and what the
// one has recorded the other does not record again.
func (t *tracing) attach(pins string) error {
	t.letGo()
	if err := os.MkdirAll(filepath.Join(pins, lineagePins), 0o700); err != nil {
		return fmt.Errorf("make directory for pins: %w", err)
	}
	return t.attachEach(func(l link.Link, name string) error {
		return pinInPlace(l, filepath.Join(pins, lineagePins, name))
	})
}

func (t *tracing) attachEach(pin func(link.Link, string) error) error {
	for _, tracer := range t.tracers() {
		l, err := link.AttachTracing(link.TracingOptions{Program: tracer.program})
		if err != nil {
			return fmt.Errorf("attach %s: %w", tracer.name, err)
		}
		t.links = append(t.links, l)
		if err := pin(l, tracer.name); err != nil {
			return fmt.Errorf("pin %s: %w", tracer.name, err)
		}
	}
	return nil
}

// pinInPlace pins a link where another may be, which ends then.
func pinInPlace(l link.Link, pin string) error {
	next := pin + "_next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := l.Pin(next); err != nil {
		return err
	}
	return os.Rename(next, pin)
}

// letGo leaves the links to their pins.
func (t *tracing) letGo() {
	for _, l := range t.links {
		_ = l.Close() // the pin holds it
	}
	t.links = nil
}

func (t *tracing) close() error {
	t.letGo()
	return t.objects.Close()
}

// check compares what is attached with what we attached.
func (t *tracing) check(pins string) error {
	var errs []error
	for _, tracer := range t.tracers() {
		if err := tracer.check(filepath.Join(pins, lineagePins, tracer.name)); err != nil {
			errs = append(errs, fmt.Errorf("program %s: %w", tracer.name, err))
		}
	}
	return errors.Join(errs...)
}

func (t tracer) check(pin string) error {
	program, err := t.program.Info()
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	pinned, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return fmt.Errorf("it will not outlive the agent: %w", err)
	}
	defer func() { _ = pinned.Close() }() // the pin holds it
	info, err := pinned.Info()
	if err != nil {
		return fmt.Errorf("read pinned link: %w", err)
	}
	if id, ok := program.ID(); !ok || info.Program != id {
		return errors.New("another program is in its place")
	}
	return nil
}

// lineage is what the kernel recorded, in the words of others.
func (raw *lineageLineage) lineage() *workload.Lineage {
	l := &workload.Lineage{Whole: raw.Whole != 0, Agents: raw.Agents, Latest: int(raw.Agent) - 1}
	const first = uint64(2) // PROGRAMS_FIRST
	places := uint64(len(raw.Programs))
	for n := uint64(0); n < raw.Executed; n++ {
		if n == first && raw.Executed > places {
			l.LeftOut = raw.Executed - places
			n += l.LeftOut
		}
		at := n
		if n >= first {
			at = first + (n-first)%(places-first)
		}
		program := &raw.Programs[at]
		l.Programs = append(l.Programs, workload.Executed{Path: pathOf(program.Path[:len(program.Path)-1], int(program.Length)), Agent: int(program.Agent) - 1})
	}
	if l.Latest >= len(workload.Products) || bits.Len64(l.Agents) > len(workload.Products) {
		return unknownAgents(l)
	}
	return l
}

// unknownAgents leaves out the marks of agents that a later version knew.
func unknownAgents(l *workload.Lineage) *workload.Lineage {
	l.Agents &= 1<<len(workload.Products) - 1
	if l.Latest >= len(workload.Products) {
		l.Latest = bits.Len64(l.Agents) - 1
	}
	for i, program := range l.Programs {
		if program.Agent >= len(workload.Products) {
			l.Programs[i].Agent = -1
		}
	}
	return l
}

func pathOf(kept []byte, length int) string {
	if length > len(kept) {
		return "…" + string(kept)
	}
	return string(kept[:length])
}
