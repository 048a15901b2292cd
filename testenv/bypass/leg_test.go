package bypass

import (
	"testing"
	"time"
)

// TestLegIsOutOfReach attacks the agent's own connection to the server, which
// it opened for another job.
func TestLegIsOutOfReach(t *testing.T) {
	for _, set := range capabilities {
		t.Run(set.name, func(t *testing.T) {
			attacker, neighbour := lab.newJob(t, "attacker", set.options...), lab.newJob(t, "neighbour")
			use := func(midway ...func()) {
				t.Helper()
				if s := neighbour.try(t, "leg-neighbour", lab.target(), midway...); s.Saw != "the leg works" {
					t.Errorf("the neighbour saw %q", s.Saw)
				}
			}
			inFront := hooks(noCapability)
			if set.name != "default" {
				inFront = hooks("network namespace: accept: time-out")
			}
			lab.stage(t, attacker, set.name, row{name: "leg-sniff", stops: hooks("network namespace: nothing of another job")}, func() { use() })
			lab.stage(t, attacker, set.name, row{name: "leg-listen", stops: inFront}, func() { use() })
			use(func() {
				lab.stage(t, attacker, set.name, row{name: "leg-reset", stops: hooks("kernel: resets: sent")})
			})
		})
	}
}

// TestFloodOfOneJobIsNotAnothers has a job use up all that it can while another
// one works.
func TestFloodOfOneJobIsNotAnothers(t *testing.T) {
	attacker, neighbour := lab.newJob(t, "attacker"), lab.newJob(t, "neighbour")
	for _, r := range []row{
		{name: "flood-connections", stops: hooks(redirected)},
		{name: "flood-datagrams", stops: hooks("sendmsg_refused")},
		{name: "flood-raw", stops: hooks("egress_dropped")},
	} {
		lab.stage(t, attacker, "default", r, func() {
			for deadline := time.Now().Add(patience); ; { // it may be slower, but not for ever
				s := neighbour.try(t, "tcp", lab.target())
				if s.Saw == "answered by agent" {
					return
				}
				if time.Now().After(deadline) {
					t.Errorf("%s: the neighbour saw %q", r.name, s.Saw)
					return
				}
			}
		})
	}
}
