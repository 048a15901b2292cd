package httpproxy

// TakePlace takes one of the places that a workload has for requests, for
// something else that is under way inside of one. It reports whether there was
// one; GivePlace gives it back.
func (s *Session) TakePlace() bool { return s.engine.requests.Take(s.netns(), 1) }

// GivePlace gives back what TakePlace took.
func (s *Session) GivePlace() { s.engine.requests.Give(s.netns(), 1) }
