package redirect

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/workload"
)

// seedPasses bounds how often processes are listed: a child of one that had no
// lineage yet has none either, until it is seen itself.
const seedPasses = 4

// lineagesKept is LINEAGES_KEPT in lineage.h: an entry there lets no thread
// without a lineage connect to a protected destination, since a flood of threads
// may have taken its room.
const lineagesKept = uint32(0)

// errNoTracing means that this kernel cannot.
var errNoTracing = errors.New("lineages are not recorded")

const lineageUnknown = "What a workload's ancestors executed is not known here"

// loadTracing makes ready to record lineages. Without them this machine is
// guarded as well, and less is known of who connects.
func (r *Redirect) loadTracing() {
	tracing, err := newTracing(r.objects.Lineages)
	if err != nil {
		r.log.Warn(lineageUnknown, zap.Error(err))
		return
	}
	r.tracing = tracing
}

// trace puts the programs that record lineages in force.
func (r *Redirect) trace() {
	err := errNoTracing
	if r.tracing != nil {
		if err = r.tracing.attach(r.pins.Name()); err == nil {
			err = r.seed()
		}
	}
	if err == nil {
		err = r.objects.Lineages.Put(lineagesKept, lineageLineage{})
	}
	if err == nil {
		return
	}
	// Threads without a lineage connect all the same then.
	if err := r.objects.Lineages.Delete(lineagesKept); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		r.log.Error("Threads without a lineage stay refused", zap.Error(err))
	}
	if r.tracing != nil {
		r.log.Warn(lineageUnknown, zap.Error(errors.Join(err, r.tracing.close())))
		r.tracing = nil
	}
}

// seed gives processes that were there before the programs what /proc tells of
// them: their program, whether they or their ancestors are known AI agents, and
// that it may be more. What the kernel has recorded stays as it is. It runs once
// the programs are attached, and a process that it misses has no lineage until
// it or a descendant executes something.
func (r *Redirect) seed() error {
	done := make(map[int]bool)
	for range seedPasses {
		all, err := listProcesses(done)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return nil
		}
		for pid, p := range all {
			done[pid] = true
			p.lineage.Agents |= inherited(all, p.parent)
			r.seedOne(pid, p)
		}
	}
	return nil
}

// seedOne gives it to all threads that have none: any may be the one that goes on
// after an execve. One that ends meanwhile leaves its entry to who has its id next,
// whose begin writes it anew.
func (r *Redirect) seedOne(pid int, p *seeded) {
	p.lineage.CgroupId, p.lineage.CgroupLevel = r.cgroupAndLevel(pid)
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/[0-9]*"))
	if err != nil {
		return // the pattern is right
	}
	for _, path := range threads {
		if id, err := strconv.ParseUint(filepath.Base(path), 10, 32); err == nil {
			_ = r.objects.Lineages.Update(uint32(id), p.lineage, ebpf.UpdateNoExist) // it has one
		}
	}
}

// seeded is a process as /proc has it.
type seeded struct {
	parent  int
	lineage *lineageLineage
}

// listProcesses returns those that are not done yet. Threads of the kernel have
// no program.
func listProcesses(done map[int]bool) (map[int]*seeded, error) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	all := make(map[int]*seeded)
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil || done[pid] {
			continue
		}
		exe, err := os.Readlink(filepath.Join(path, "exe"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		all[pid] = readProcess(path, strings.TrimSuffix(exe, " (deleted)"))
	}
	return all, nil
}

// readProcess reads nothing that lies in the process's own memory: that could
// make us wait.
func readProcess(path, exe string) *seeded {
	p := &seeded{lineage: &lineageLineage{Seeded: 1, Executed: 1}}
	comm, _ := os.ReadFile(filepath.Join(path, "comm")) // of one that is gone, nothing
	program := &p.lineage.Programs[0]
	program.Length = uint16(min(len(exe), unix.PathMax))
	kept := program.Path[:len(program.Path)-1] // behind it is a zero
	copy(kept, exe[max(0, len(exe)-len(kept)):])
	for i, product := range workload.Products {
		for _, name := range product.Programs {
			if filepath.Base(exe) == name || string(bytes.TrimSpace(comm)) == name {
				p.lineage.Agent, p.lineage.Agents = uint8(i+1), 1<<i
				program.Agent = p.lineage.Agent
			}
		}
	}
	// pid (comm) state ppid: proc_pid_stat(5). comm may hold anything.
	stat, _ := os.ReadFile(filepath.Join(path, "stat"))
	if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 1 {
		p.parent, _ = strconv.Atoi(fields[1])
	}
	return p
}

// inherited are the agents among the ancestors of a process.
func inherited(all map[int]*seeded, parent int) (agents uint64) {
	for range len(all) { // a pid may be used again, and make a circle
		p := all[parent]
		if p == nil {
			break
		}
		agents |= p.lineage.Agents
		parent = p.parent
	}
	return agents
}

// cgroupAndLevel is where a process's chain begins; 0 where that is not known.
func (r *Redirect) cgroupAndLevel(pid int) (id uint64, level int32) {
	path, err := cgroupPath(filepath.Join("/proc", strconv.Itoa(pid)))
	if err != nil {
		return 0, 0
	}
	at, err := inodeAt(filepath.Join(r.cgroups, path))
	if err != nil || r.cgroups == "" {
		return 0, 0
	}
	if path = strings.Trim(path, "/"); path != "" {
		level = int32(strings.Count(path, "/") + 1)
	}
	return at.ino, level
}
