package agent

import (
	"sync"
	"time"
)

// lately tells what happens to a workload for the first time in a while. A
// workload is told as quota tells it.
type lately struct {
	within time.Duration

	mu sync.Mutex
	at map[uint64]time.Time // by netns cookie; guarded by mu
}

func newLately(within time.Duration) *lately {
	return &lately{within: within, at: make(map[uint64]time.Time)}
}

// first reports whether it has not done so for this workload lately.
func (l *lately) first(netns uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if last, found := l.at[netns]; found && now.Sub(last) < l.within {
		return false
	}
	for other, last := range l.at { // few: each is one that something happened to
		if now.Sub(last) >= l.within {
			delete(l.at, other)
		}
	}
	l.at[netns] = now
	return true
}
