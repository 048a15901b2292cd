package agent

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
)

// TestJobThatConnectsWithoutEndFillsNoTrail has one workload do a thing a
// thousand times a second, and another one once.
func TestJobThatConnectsWithoutEndFillsNoTrail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorded []record.Alert
		a := newAlerts(func(alert record.Alert) { recorded = append(recorded, alert) })
		expect := func(when string, want ...record.Alert) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(recorded, want) {
				t.Errorf("%s: recorded %v, want %v", when, recorded, want)
			}
			recorded = nil
		}
		flood := func(n int, detail string) {
			for range n {
				a.add(1, record.Alert{Kind: "session-quota", Detail: detail})
			}
		}

		flood(1000, "first")
		a.add(2, record.Alert{Kind: "session-quota", Detail: "another"})
		a.add(1, record.Alert{Kind: "no-resource"})
		expect("at once",
			record.Alert{Kind: "session-quota", Detail: "first", Count: 1},
			record.Alert{Kind: "session-quota", Detail: "another", Count: 1},
			record.Alert{Kind: "no-resource", Count: 1})
		flood(1, "last")
		<-time.After(alertEvery)
		expect("a minute later", record.Alert{Kind: "session-quota", Detail: "last", Count: 1000})
		flood(3, "more")
		expect("right behind it")
		a.flush()
		expect("at the end", record.Alert{Kind: "session-quota", Detail: "more", Count: 3})
		<-time.After(2 * alertEvery)
		expect("behind the end")
		if len(a.later) != 0 {
			t.Errorf("%d are remembered for ever", len(a.later))
		}
	})
}
