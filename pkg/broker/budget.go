package broker

import (
	"sync"
	"time"
)

const (
	// questionsEach is how many questions one connection is good for: an honest
	// proxy asks about four.
	questionsEach = 16
	// questionsASecond are for what no connection causes: metrics, further
	// server legs of a session.
	questionsASecond = 200
	// questionsSaved is the most that can be saved up.
	questionsSaved = 8192
)

// budget bounds what a proxy may ask: one that somebody took over shall not
// keep the privileged half busy, nor read the node through it at leisure.
type budget struct {
	mu   sync.Mutex
	left float64   // guarded by mu
	at   time.Time // of left; guarded by mu
}

func newBudget() *budget { return &budget{left: questionsSaved, at: time.Now()} }

// earn is for a connection that was handed over.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+questionsEach, questionsSaved)
}

// spend reports whether one more question may be asked.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = min(b.left+now.Sub(b.at).Seconds()*questionsASecond, questionsSaved)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
