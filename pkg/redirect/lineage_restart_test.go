package redirect_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// held is a process that waits before each generation, and before it connects.
type held struct {
	cmd  *exec.Cmd
	in   io.Writer
	left int
}

func (l *lab) hold(t *testing.T, program string, generations int) *held {
	t.Helper()
	command := l.descend(program, generations, "held")
	h := &held{cmd: exec.Command(command[0], command[1:]...), left: generations}
	newCgroup(t).Enter(h.cmd)
	in, err := h.cmd.StdinPipe()
	must(t, err)
	h.in = in
	must(t, l.job.Start(h.cmd))
	t.Cleanup(func() {
		_ = h.cmd.Process.Kill() // it has ended, unless the test failed
		_ = h.cmd.Wait()
	})
	h.await(t)
	return h
}

// next lets it execute itself once more, and waits until it has.
func (h *held) next(t *testing.T) {
	t.Helper()
	h.left--
	h.let(t)
	h.await(t)
}

func (h *held) let(t *testing.T) {
	t.Helper()
	_, err := h.in.Write([]byte{1})
	must(t, err)
}

func (h *held) await(t *testing.T) {
	t.Helper()
	want := fmt.Appendf(nil, "\x00descend\x00%d\x00", h.left)
	until(t, func() bool {
		args, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(h.cmd.Process.Pid), "cmdline"))
		return err == nil && bytes.Contains(args, want)
	})
}

// awaitHealth waits until the agent beats: before, connects are refused.
func (l *lab) awaitHealth(t *testing.T) {
	t.Helper()
	until(t, func() bool { return l.agent.Healthy() == nil })
}

func TestProcessBeforeTheAgentIsKnownInPart(t *testing.T) {
	l := newNetwork(t)
	program := filepath.Join(t.TempDir(), "claude")
	copyFile(t, executable(t), program)
	early := l.hold(t, program, 1)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t)
	l.runAgent(t)
	l.awaitHealth(t)
	early.next(t)
	early.let(t)
	got := l.accept(t).Origin.Lineage
	mustMark(t, got, claude)
	if got.Whole || !slices.Equal(paths(got), []string{program, program}) {
		t.Errorf("lineage %q, whole %t; want what /proc and then the kernel tell, and not whole", paths(got), got.Whole)
	}
}

func TestLineageOutlivesTheAgent(t *testing.T) {
	l := newLab(t)
	program, exe := agentProgram(t, "claude"), executable(t)
	job := l.hold(t, program, 2)
	job.next(t)
	l.stop()
	must(t, l.agent.Close())
	job.next(t) // while there is none
	l.openAgent(t)
	l.runAgent(t)
	l.awaitHealth(t)
	job.let(t)
	mustBe(t, l.accept(t).Origin.Lineage, claude, program, exe, exe)
}

// TestLineageOutlivesAnUpgrade has a process execute something while both agents'
// programs are in force, and after a successor that came to nothing.
func TestLineageOutlivesAnUpgrade(t *testing.T) {
	l := newNetwork(t)
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t)
	cfg := redirect.Config{Pins: l.pins, Port: l.slice.Port}
	program, exe := agentProgram(t, "claude"), executable(t)
	first := &running{Redirect: l.agent}
	first.resume()
	job := l.hold(t, program, 3)
	first.pause(t)

	failed, err := first.successor(t, cfg)
	must(t, err)
	must(t, failed.TakeOver(first.listening(t)))
	job.next(t)
	must(t, failed.LetGo())
	must(t, first.TakeBack())
	job.next(t)

	next, err := first.successor(t, cfg)
	must(t, err)
	closeLater(t, next.Close)
	must(t, next.TakeOver(first.listening(t)))
	job.next(t) // the first has its links open still
	must(t, first.LetGo())
	l.agent = next
	l.runAgent(t)
	l.awaitHealth(t)
	job.let(t)
	mustBe(t, l.accept(t).Origin.Lineage, claude, program, exe, exe, exe)
}

// carried is the map that holds what tasks carry.
func (l *lab) carried(t *testing.T) *ebpf.Map {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(l.pins, "maps", "lineages"), nil)
	must(t, err)
	closeLater(t, m.Close)
	return m
}

func (h *held) id() uint32 { return uint32(h.cmd.Process.Pid) }

// TestLostLineageIsNotWhole takes from a process what it carries. Its parent is
// this test.
func TestLostLineageIsNotWhole(t *testing.T) {
	l := newLab(t)
	job := l.hold(t, agentProgram(t, "claude"), 1)
	must(t, l.carried(t).Delete(job.id()))
	job.next(t)
	job.let(t)
	got := l.accept(t).Origin.Lineage
	if got == nil || got.Whole || len(got.Programs) == 0 || got.Programs[len(got.Programs)-1].Path != executable(t) {
		t.Errorf("lineage %+v", got)
	}
	if l.counter(t, "lineage_begun") == 0 {
		t.Error("it is not counted")
	}
}

// TestThreadWithoutALineageIsRefused takes from a process what it carries: a flood
// of threads could have done so before it began.
func TestThreadWithoutALineageIsRefused(t *testing.T) {
	l := newLab(t)
	job := l.hold(t, agentProgram(t, "claude"), 0)
	must(t, l.carried(t).Delete(job.id()))
	job.let(t)
	if err := job.cmd.Wait(); err == nil {
		t.Error("it connects")
	}
	if l.counter(t, "connect_refused_no_room") == 0 {
		t.Error("it is not counted")
	}
}

// TestUnseenExecIsToldAsAGap pretends that one was not seen.
func TestUnseenExecIsToldAsAGap(t *testing.T) {
	l := newLab(t)
	program, exe := agentProgram(t, "claude"), executable(t)
	job := l.hold(t, program, 1)
	m, key := l.carried(t), job.id()
	value := make([]byte, m.ValueSize())
	must(t, m.Lookup(key, &value))
	value[8]-- // exec_id
	must(t, m.Update(key, value, ebpf.UpdateExist))
	job.next(t)
	job.let(t)
	got := l.accept(t).Origin.Lineage
	mustMark(t, got, claude)
	if got.Whole || !slices.Equal(paths(got), []string{program, exe}) {
		t.Errorf("lineage %q, whole %t", paths(got), got.Whole)
	}
	if l.counter(t, "lineage_gap") == 0 {
		t.Error("it is not counted")
	}
}

func TestUninstallStopsRecordingLineages(t *testing.T) {
	l := newLab(t)
	l.stop()
	must(t, l.agent.Close())
	must(t, redirect.Uninstall(l.pins))
	if _, err := os.Stat(l.pins); !os.IsNotExist(err) {
		t.Errorf("pins are left: %v", err)
	}
}

// TestMissingTracerIsNotHealthy removes a pin, after which the program would not
// outlive the agent.
func TestMissingTracerIsNotHealthy(t *testing.T) {
	l := newLab(t)
	l.awaitHealth(t)
	must(t, os.Remove(filepath.Join(l.pins, "lineage", "lineage_exec")))
	until(t, func() bool { return l.agent.Healthy() != nil })
}
