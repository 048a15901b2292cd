package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDoubtIsRecordedOnceAMinuteForEachWorkload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubts := newLately(doubtEvery)
		recorded := 0
		for range 1000 {
			if doubts.first(1) {
				recorded++
			}
		}
		if recorded != 1 {
			t.Errorf("it was recorded %d times at once", recorded)
		}
		if !doubts.first(2) {
			t.Error("another workload's was not recorded")
		}
		<-time.After(doubtEvery)
		if !doubts.first(1) || len(doubts.at) != 1 {
			t.Errorf("a minute later it was not recorded, or %d are remembered", len(doubts.at))
		}
	})
}
