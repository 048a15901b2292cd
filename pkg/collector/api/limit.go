package api

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limiter slows down addresses that ask too much, and shuts out for a while
// those that fail too often. It is safe for concurrent use. What it knows it
// forgets with the process.
type Limiter struct {
	mu   sync.Mutex
	from map[netip.Prefix]*visitor // guarded by mu
}

type visitor struct {
	seen   time.Time
	tokens float64   // requests that are left
	failed int       // in a row
	locked time.Time // until then
}

const (
	perSecond = 50  // requests of one address
	burst     = 200 // at once
	// failuresAllowed in a row, then every further one shuts the address out,
	// for twice as long each time.
	failuresAllowed = 10
	firstLock       = 30 * time.Second
	longestLock     = 15 * time.Minute
	maxVisitors     = 1 << 16
)

// NewLimiter returns a limiter that knows nobody.
func NewLimiter() *Limiter { return &Limiter{from: map[netip.Prefix]*visitor{}} }

// Allow counts a request, and returns how long its sender must wait if it may
// not be served.
func (l *Limiter) Allow(r *http.Request) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	v := l.visitor(r, now)
	if wait := v.locked.Sub(now); wait > 0 {
		return wait
	}
	if v.tokens < 1 {
		return time.Second
	}
	v.tokens--
	return 0
}

// Failed counts a login or token that was refused.
func (l *Limiter) Failed(r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	v := l.visitor(r, now)
	v.failed++
	if over := v.failed - failuresAllowed; over >= 0 {
		v.locked = now.Add(min(firstLock<<min(over, 10), longestLock))
	}
}

// Succeeded forgets the failures of an address.
func (l *Limiter) Succeeded(r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visitor(r, time.Now()).failed = 0
}

// visitor returns what is known of a sender, its tokens up to date. mu is held.
func (l *Limiter) visitor(r *http.Request, now time.Time) *visitor {
	from := addressOf(r)
	v := l.from[from]
	if v == nil {
		if len(l.from) >= maxVisitors {
			l.forget(now)
		}
		v = &visitor{seen: now, tokens: burst}
		l.from[from] = v
	}
	v.tokens = min(burst, v.tokens+now.Sub(v.seen).Seconds()*perSecond)
	v.seen = now
	return v
}

// forget drops who has been quiet; when all are busy, everybody.
func (l *Limiter) forget(now time.Time) {
	for from, v := range l.from {
		if now.Sub(v.seen) > time.Minute && now.After(v.locked) {
			delete(l.from, from)
		}
	}
	if len(l.from) >= maxVisitors {
		clear(l.from)
	}
}

// addressOf is the sender's address, of IPv6 the network that one customer
// has.
func addressOf(r *http.Request) netip.Prefix {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	address = address.Unmap().WithZone("")
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // never fails: the bits fit the address
	return prefix
}
