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
// keep the privileged half busy, nor read the node through it at leisure. What
// earns it something the proxy cannot say: the kernel counts connections.
type budget struct {
	mu      sync.Mutex
	arrived func() (uint64, error) // connections, so far; guarded by mu
	left    float64                // guarded by mu
	at      time.Time              // of left; guarded by mu
	paid    uint64                 // connections that left contains; guarded by mu
}

func newBudget(arrived func() (uint64, error)) *budget {
	return &budget{arrived: arrived, left: questionsSaved, at: time.Now()}
}

// spend reports whether something may be asked that costs so much.
func (b *budget) spend(cost int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < float64(cost) {
		b.earn()
	}
	if b.left < float64(cost) {
		return false
	}
	b.left -= float64(cost)
	return true
}

// earn adds what has accrued. The caller holds mu.
func (b *budget) earn() {
	now := time.Now()
	earned := now.Sub(b.at).Seconds() * questionsASecond
	if arrived, err := b.arrived(); err == nil && arrived > b.paid {
		earned += float64(arrived-b.paid) * questionsEach
		b.paid = arrived
	}
	b.left = min(b.left+earned, questionsSaved)
	b.at = now
}
