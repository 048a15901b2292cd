package web

// Options are what an operator can set. The zero value is good.
type Options struct{}
