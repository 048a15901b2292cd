package e2e

import (
	"os"
	"testing"
	"time"
)

// TestSessionOutlivesTwoUpgrades has its records go through two other processes.
func TestSessionOutlivesTwoUpgrades(t *testing.T) {
	began := time.Now()
	long := converse(t)
	if got := long.say(t, "BEGIN; SELECT 'before';"); got != "before" {
		t.Fatalf("got %q", got)
	}
	old := []int{upgrade(t), upgrade(t)}
	if got := long.say(t, "SELECT 'after both'; COMMIT;"); got != "after both" {
		t.Errorf("the long session gets %q", got)
	}
	for _, agent := range old {
		if isGone(agent) {
			t.Errorf("agent %d is gone, with a session that needs it", agent)
		}
	}
	long.end(t)
	eventually(t, "both old agents end with the last session", func() bool { return isGone(old[0]) && isGone(old[1]) })
	isWhole(t, began)
}

// reload puts another policy in force.
func reload(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	upgrade(t)
}

// upgrade has the agent replaced by itself.
func upgrade(t *testing.T) (old int) {
	t.Helper()
	done := logged(t, "A successor has taken over")
	old = hangUp(t)
	within(t, upgradeWait, "the successor has taken over", func() bool { return logged(t, "A successor has taken over") > done })
	next := successors(old)
	if len(next) != 1 {
		t.Fatalf("the agent's successors are %v", next)
	}
	adopt(t, next[0])
	return old
}
