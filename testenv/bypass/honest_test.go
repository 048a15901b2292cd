package bypass

import (
	"testing"
	"time"
)

// TestHonestProgramSeesNoDifference runs what a program may rely on.
func TestHonestProgramSeesNoDifference(t *testing.T) {
	j := lab.newJob(t, "honest")
	for _, name := range honestTechniques() {
		resets := lab.resets.Load()
		if s := j.try(t, name, lab.target()); s.Saw != "all well" {
			t.Errorf("%s: %s", name, s.Saw)
		}
		if name != "honest-reset" {
			continue
		}
		deadline := time.Now().Add(patience)
		for tick := time.NewTicker(10 * time.Millisecond); lab.resets.Load() == resets; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatal("the server did not learn that the client reset its connection")
			}
		}
	}
}

func honestTechniques() []string {
	return []string{
		"honest-half-close", "honest-reset", "honest-options", "honest-peer-name", "honest-peer-name-ipv6", "honest-unprotected",
	}
}
