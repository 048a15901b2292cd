package redirect_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/workload"
	"github.com/sluicegate/sluice/testenv/netlab"
)

const claude = "claude-code"

// runIn starts a command as a job's, in a cgroup, and returns the lineage of the
// connection that it or a descendant opens.
func (l *lab) runIn(t *testing.T, group *netlab.Cgroup, command ...string) *workload.Lineage {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	var said strings.Builder
	cmd.Stderr = &said
	group.Enter(cmd)
	must(t, l.job.Start(cmd))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	return l.accept(t).Origin.Lineage
}

// descend is a command that plays a descendant.
func (l *lab) descend(program string, generations int, way string) []string {
	return []string{program, "descend", strconv.Itoa(generations), way, l.server4.String()}
}

// agentProgram is this program under another name: a link to it.
func agentProgram(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.Symlink(executable(t), path))
	return path
}

func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	return exe
}

func paths(l *workload.Lineage) (all []string) {
	for _, program := range l.Programs {
		all = append(all, program.Path)
	}
	return all
}

// mustBe fails unless the lineage is a whole one of these programs, and that of
// the named agent, if there is a name.
func mustBe(t *testing.T, l *workload.Lineage, product string, programs ...string) {
	t.Helper()
	if l == nil {
		t.Fatal("the lineage is unknown")
	}
	if got := paths(l); !slices.Equal(got, programs) || !l.Whole || l.LeftOut != 0 {
		t.Errorf("lineage %q, whole %t, %d left out; want %q", got, l.Whole, l.LeftOut, programs)
	}
	mustMark(t, l, product)
}

func mustMark(t *testing.T, l *workload.Lineage, product string) {
	t.Helper()
	if l == nil {
		t.Fatal("the lineage is unknown")
	}
	var agents []string
	for i, p := range workload.Products {
		if l.Has(i) {
			agents = append(agents, p.Name)
		}
	}
	latest := ""
	if l.Latest >= 0 {
		latest = workload.Products[l.Latest].Name
	}
	if latest != product || (product != "" && !slices.Contains(agents, product)) || (product == "" && len(agents) > 0) {
		t.Errorf("marks %q, the latest %q; want %q", agents, latest, product)
	}
}

func TestLineageBeginsInItsContainer(t *testing.T) {
	l := newLab(t)
	exe := executable(t)
	mustBe(t, l.runIn(t, newCgroup(t), l.descend(exe, 0, "exec")...), "", exe)
	mustBe(t, l.runIn(t, newCgroup(t), l.descend(exe, 2, "exec")...), "", exe, exe, exe)
}

func TestAgentIsKnownByItsProgram(t *testing.T) {
	l := newLab(t)
	program := agentProgram(t, "claude")
	exe := executable(t)
	mustBe(t, l.runIn(t, newCgroup(t), l.descend(program, 1, "exec")...), claude, program, exe)
}

func TestMarkSurvivesWhatBreaksTheTree(t *testing.T) {
	l := newLab(t)
	program, exe := agentProgram(t, "claude"), executable(t)
	for name, generations := range map[string]int{"exec": 1, "thread": 2, "descriptor": 1, "orphan": 3, "namespaces": 1} {
		t.Run(name, func(t *testing.T) {
			group := newCgroup(t)
			got := l.runIn(t, group, l.descend(program, generations, name)...)
			want := append([]string{program}, slices.Repeat([]string{exe}, generations)...)
			if name == "descriptor" { // execve was given none
				want[1] = got.Programs[len(got.Programs)-1].Path
				if !strings.HasPrefix(want[1], "/dev/fd/") {
					t.Errorf("a descriptor is called %q", want[1])
				}
			}
			mustBe(t, got, claude, want...)
		})
	}
}

// TestWhoConnectsCounts has a worker of the kernel connect, then a process whose
// socket another made.
func TestWhoConnectsCounts(t *testing.T) {
	l := newLab(t)
	program, exe := agentProgram(t, "claude"), executable(t)
	mustBe(t, l.runIn(t, newCgroup(t), l.descend(program, 1, "worker")...), claude, program, exe)
	outer := filepath.Join(t.TempDir(), "claude")
	must(t, os.WriteFile(outer, []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755))
	mustBe(t, l.runIn(t, newCgroup(t), append([]string{outer}, l.descend(exe, 1, "foreign")...)...), claude, outer, exe, exe)
}

func TestScriptIsCalledAsItWasGiven(t *testing.T) {
	l := newLab(t)
	exe := executable(t)
	script := filepath.Join(t.TempDir(), "claude")
	env, err := exec.LookPath("env")
	must(t, err)
	text := fmt.Sprintf("#!/bin/sh\nexec %s -i %s\n", env, strings.Join(l.descend(exe, 0, "exec"), " "))
	must(t, os.WriteFile(script, []byte(text), 0o755))
	mustBe(t, l.runIn(t, newCgroup(t), "sh", "-c", script+"; true"), claude, shell(t), script, env, exe)
}

func shell(t *testing.T) string {
	t.Helper()
	sh, err := exec.LookPath("sh")
	must(t, err)
	return sh
}

func TestFileIsKnownWhateverLeadsToIt(t *testing.T) {
	l := newLab(t)
	exe := executable(t)
	real := filepath.Join(t.TempDir(), "codex")
	copyFile(t, exe, real)
	alias := filepath.Join(t.TempDir(), "innocent")
	must(t, os.Symlink(real, alias))
	mustBe(t, l.runIn(t, newCgroup(t), l.descend(alias, 0, "exec")...), "codex", alias)
	mustMark(t, l.runIn(t, newCgroup(t), l.descend(exe, 1, "memory")...), claude)
	mustMark(t, l.runIn(t, newCgroup(t), l.descend(real, 1, "exec")...), "codex")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	program, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, program, 0o755))
}

func TestLongChainKeepsMarkAndEnds(t *testing.T) {
	l := newLab(t)
	exe, dir := executable(t), t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		return path
	}
	first, agent := script("first", `exec "$@"`), script("claude", `exec "$@"`)
	again := script("again", `n=$1; shift; [ $n = 1 ] && exec "$@"; exec "$0" $((n - 1)) "$@"`)
	const times = 400
	job := append([]string{agent, again, strconv.Itoa(times)}, l.descend(exe, 0, "exec")...)

	got := l.runIn(t, newCgroup(t), append([]string{first}, job...)...)
	mustMark(t, got, claude)
	want := append(append([]string{first, agent}, slices.Repeat([]string{again}, 5)...), exe)
	if p := paths(got); !slices.Equal(p, want) || got.LeftOut != times-5 || !got.Whole {
		t.Errorf("lineage %q, whole %t, %d left out; want %q", p, got.Whole, got.LeftOut, want)
	}
	got = l.runIn(t, newCgroup(t), append([]string{first, first, first}, job...)...)
	mustMark(t, got, claude)
	if slices.Contains(paths(got), agent) {
		t.Errorf("lineage %q: the agent's program should have no place any more", paths(got))
	}
}

func TestPathsOfAnyKindAreKept(t *testing.T) {
	l := newLab(t)
	exe := executable(t)
	odd := filepath.Join(t.TempDir(), "a\xff\n\x1b[2J")
	must(t, os.Symlink(exe, odd))
	mustBe(t, l.runIn(t, newCgroup(t), l.descend(odd, 0, "exec")...), "", odd)

	long := agentProgram(t, "claude")
	dir := filepath.Dir(long)
	long = dir + strings.Repeat("/.", (4095-len(long))/2) + "/claude"
	got := l.runIn(t, newCgroup(t), l.descend(long, 0, "exec")...)
	mustBe(t, got, claude, "…"+long[len(long)-91:])

	name := filepath.Join(dir, strings.Repeat("n", 248)+"/claude"[1:])
	must(t, os.Symlink(exe, name))
	mustBe(t, l.runIn(t, newCgroup(t), l.descend(name, 0, "exec")...), "", "…"+name[len(name)-91:])
}

func TestChainBeginsAnewOutsideOfItsCgroup(t *testing.T) {
	l := newLab(t)
	program, exe := agentProgram(t, "claude"), executable(t)
	first, second := newCgroup(t), newCgroup(t)
	below, err := first.NewBelow("below")
	must(t, err)
	closeLater(t, below.Close)
	// Into a cgroup below its own, as a job may make one, nothing begins anew.
	mustBe(t, l.runIn(t, first, l.descend(program, 2, below.Path)...), claude, program, exe, exe)
	// Elsewhere the chain does, and the mark stays.
	mustBe(t, l.runIn(t, first, l.descend(program, 1, second.Path)...), claude, exe)
}

func newCgroup(t *testing.T) *netlab.Cgroup {
	t.Helper()
	group, err := netlab.NewCgroup("sluice-lineage")
	must(t, err)
	closeLater(t, group.Close)
	return group
}
