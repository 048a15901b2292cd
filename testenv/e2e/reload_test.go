package e2e

import (
	"os"
	"strings"
	"syscall"
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
	old, next := hangUp(t), 0
	within(t, upgradeWait, "the successor has taken over", func() bool {
		if all := successors(old); len(all) == 1 { // one without sessions ends at once
			next = all[0]
		}
		return next != 0 && logged(t, "A successor has taken over") > done
	})
	adopt(t, next)
	return old
}

// TestAgentKilledInAnUpgradeUnguardsNothing kills the one that hands over, early
// and late: its successor serves, or ends too, and then connections are refused
// until an agent starts. No job speaks to the server itself.
func TestAgentKilledInAnUpgradeUnguardsNothing(t *testing.T) {
	for what, ready := range map[string]func(next int) bool{
		"a successor was started": func(int) bool { return true },
		"a successor takes over":  listensFor,
	} {
		old, next := hangUp(t), 0
		within(t, upgradeWait, what, func() bool {
			if all := successors(old); len(all) == 1 {
				next = all[0]
			}
			return next != 0 && ready(next)
		})
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		served := false
		within(t, upgradeWait, "the successor serves, or is gone", func() bool {
			r := psql("SELECT 'served'")
			served = strings.TrimSpace(r.out) == "served"
			if strings.Contains(r.all(), "password") {
				t.Errorf("when %s, a job speaks to the server: %s", what, r.all())
			}
			return served || isGone(next) && strings.Contains(r.all(), "refused")
		})
		t.Logf("when %s: served by the successor: %t", what, served)
		if served {
			adopt(t, next)
			continue
		}
		if r := run("start", "agent"); r.code != 0 {
			t.Fatal(r.all())
		}
		if r := psql("SELECT 'served'"); strings.TrimSpace(r.out) != "served" {
			t.Errorf("afterwards: %s", r.all())
		}
	}
}
