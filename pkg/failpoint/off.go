//go:build !faults

// Package failpoint lets the fault matrix (testenv/faults) end a program at a
// named place, as kill -9 would, and shift its wall clock. It does so only in
// programs that are built with the tag faults; in all others its functions are
// empty and cost nothing.
package failpoint

import "time"

// Here is a place where the program can be ended.
func Here(string) {}

// Wall returns the wall clock's reading for a moment.
func Wall(now time.Time) time.Time { return now }
