package agent

import (
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
)

// alertEvery is how often at most one workload's alerts of one kind are recorded.
const alertEvery = time.Minute

// alerts keep a job that does something again and again from filling the trail,
// and the program's log: the first of a workload's alerts of a kind is recorded
// at once, and what follows within alertEvery as one, which says how many they
// were and about the last of them what it was.
type alerts struct {
	record func(record.Alert) // in the trail and the log

	mu    sync.Mutex
	later map[alerted]*record.Alert // what is not recorded yet; guarded by mu
}

// alerted is what alerts count apart. A workload is told as quota tells it.
type alerted struct {
	netns uint64
	kind  string
}

func newAlerts(do func(record.Alert)) *alerts {
	return &alerts{record: do, later: make(map[alerted]*record.Alert)}
}

// add records an alert, now or later.
func (a *alerts) add(netns uint64, alert record.Alert) {
	of := alerted{netns, alert.Kind}
	alert.Count = 1
	a.mu.Lock()
	later := a.later[of]
	if later != nil {
		alert.Count += later.Count
		*later = alert
	} else {
		a.later[of] = &record.Alert{}
	}
	a.mu.Unlock()
	if later != nil {
		return
	}
	a.record(alert)
	time.AfterFunc(alertEvery, func() { a.tell(of) })
}

// tell records what came meanwhile, and forgets a workload of which nothing did.
func (a *alerts) tell(of alerted) {
	a.mu.Lock()
	later := a.later[of]
	if later == nil || later.Count == 0 {
		delete(a.later, of)
		a.mu.Unlock()
		return
	}
	a.later[of] = &record.Alert{}
	a.mu.Unlock()
	a.record(*later)
	time.AfterFunc(alertEvery, func() { a.tell(of) })
}

// flush records what waits, before the trail ends.
func (a *alerts) flush() {
	a.mu.Lock()
	waiting := a.later
	a.later = make(map[alerted]*record.Alert)
	a.mu.Unlock()
	for _, later := range waiting {
		if later.Count > 0 {
			a.record(*later)
		}
	}
}
