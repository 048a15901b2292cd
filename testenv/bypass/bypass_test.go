package bypass

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// capabilities are the sets with which each row runs.
var capabilities = []struct {
	name    string
	options []string
}{
	{"default", nil},
	{"net-admin", []string{
		"--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--device", "/dev/net/tun",
		"--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "net.ipv4.conf.all.route_localnet=1",
	}},
}

func TestNothingReachesTheServerAroundTheAgent(t *testing.T) {
	for _, set := range capabilities {
		t.Run(set.name, func(t *testing.T) {
			j := lab.newJob(t, set.name, set.options...)
			for _, r := range rows() {
				if set.name != "default" && r.admin != nil {
					r.stops = r.admin
				}
				t.Run(r.name, func(t *testing.T) { lab.attack(t, j, set.name, r) })
			}
		})
	}
}

// attack runs a row and judges it.
func (w *world) attack(t *testing.T, j *job, set string, r row) {
	to := w.target()
	midway := []func(){}
	before := w.look(t)
	if r.older {
		must(t, w.agent.Protect(nil))
		midway = append(midway, func() {
			must(t, w.agent.Protect(w.destinations()))
			before = w.look(t)
		})
	}
	s := j.try(t, r.name, to, midway...)
	if j.hop.IsValid() {
		w.await(t, before, r)
	}
	o := w.outcome(t, before, s)
	o.judge(t, w, set, r)
	if o.stoppedByAgent() && !r.alone {
		w.prove(t, j, r)
	}
}

// await waits until a counter has moved that may stop a row: where a process carries
// the job's packets, that is when it comes to it.
func (w *world) await(t *testing.T, before moment, r row) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		now := w.agent.counters(t)
		if slices.ContainsFunc(r.stops, func(hook string) bool { return now[hook] > before.counters[hook] }) {
			return
		}
	}
}

// outcome is what came of one technique.
type outcome struct {
	seen    seen
	moved   map[string]uint64 // counters, by how much
	arrived int               // packets at the sealed port
	hook    string            // what stopped it; empty where there is no evidence
}

// moment is what had arrived and been counted by then.
type moment struct {
	arrived  arrivals
	counters map[string]uint64
}

func (w *world) look(t *testing.T) moment {
	t.Helper()
	return moment{w.capture.settled(t), w.agent.counters(t)}
}

// outcome is what has changed since a moment.
func (w *world) outcome(t *testing.T, before moment, s seen) outcome {
	t.Helper()
	after := w.look(t)
	o := outcome{seen: s, moved: make(map[string]uint64), arrived: after.arrived.sealed - before.arrived.sealed}
	for name, n := range after.counters {
		if n > before.counters[name] {
			o.moved[name] = n - before.counters[name]
		}
	}
	return o
}

// judge finds the hook among those that may stop the technique, and writes the
// row of the printed table.
func (o *outcome) judge(t *testing.T, w *world, set string, r row) {
	t.Helper()
	for _, hook := range r.stops {
		barrier, evidence, isBarrier := strings.Cut(hook, ": ")
		switch {
		case !isBarrier && o.moved[hook] > 0:
			o.hook = hook
		case isBarrier && strings.Contains(strings.ToLower(o.seen.Saw), evidence):
			o.hook = barrier
		}
		if o.hook != "" {
			break
		}
	}
	result := "stopped"
	switch {
	case o.arrived > 0 || o.seen.Gained:
		result, o.hook = "REACHED", ""
		t.Errorf("%d packets arrived at the server; the attacker saw %q", o.arrived, o.seen.Saw)
	case o.hook == "":
		result = "NOT PROVEN"
		t.Errorf("none of %s stopped it; the attacker saw %q; counters that moved: %v", r.stops, o.seen.Saw, o.moved)
	}
	w.tables.add(fmt.Sprintf("%s\t%s\t%s\t%s\t%s", r.name, set, result, o.hook, o.seen.Saw))
}

func (o *outcome) stoppedByAgent() bool {
	_, counted := o.moved[o.hook]
	return counted
}

// prove tries the same where nothing stops it: a technique that does not arrive
// there either proves nothing by not arriving.
func (w *world) prove(t *testing.T, j *job, r row) {
	t.Helper()
	before, last := w.capture.settled(t), seen{}
	tries := 3 // a container's IPv6 address may still be on its way
	if j.hop.IsValid() {
		tries = 100 // as await
	}
	for range tries {
		last = j.try(t, r.name, w.control())
		if after := w.capture.settled(t); after.control > before.control {
			return
		}
	}
	t.Errorf("the technique does not work: nothing arrived at a server that is not protected; the attacker saw %q", last.Saw)
}

// TestEveryTechniqueIsInTheTable compares the table with the attacker's own
// list.
func TestEveryTechniqueIsInTheTable(t *testing.T) {
	listed, err := output(t.Context(), lab.dir+"/bin/attacker", "list")
	must(t, err)
	var known []string
	for _, r := range rows() {
		known = append(known, r.name)
	}
	known = append(append(known, stagedTechniques()...), honestTechniques()...)
	for _, name := range strings.Fields(listed) {
		if !slices.Contains(known, name) {
			t.Errorf("%s is tried by no test", name)
		}
	}
}
