package store

import "sync"

// signal wakes everybody who waits. It is safe for concurrent use.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu: closed by the next raise
}

func newSignal() *signal { return &signal{ch: make(chan struct{})} }

func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ch)
	s.ch = make(chan struct{})
}
