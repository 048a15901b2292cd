//go:build faults

// Package failpoint lets the fault matrix (testenv/faults) end a program at a
// named place, as kill -9 would, and shift its wall clock. It does so only in
// programs that are built with the tag faults; in all others its functions are
// empty and cost nothing.
package failpoint

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// dirVariable names the directory whose files arm the places: an empty file
// with a place's name ends the first program that gets there. The file clock
// holds by how much the wall clock is wrong.
const dirVariable = "SLUICE_FAULT_DIR"

// status is what a shell says of a program that SIGKILL ended.
const status = 137

// Here is a place where the program can be ended. Nothing is flushed, closed or
// deferred, as with kill -9; whoever gets the file's name away does it, once.
func Here(place string) {
	dir := os.Getenv(dirVariable)
	if dir == "" {
		return
	}
	armed := filepath.Join(dir, place)
	if os.Rename(armed, armed+".fired") == nil {
		os.Exit(status)
	}
}

// Wall returns the wall clock's reading for a moment.
func Wall(now time.Time) time.Time {
	dir := os.Getenv(dirVariable)
	if dir == "" {
		return now
	}
	text, err := os.ReadFile(filepath.Join(dir, "clock"))
	if err != nil {
		return now
	}
	shift, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return now
	}
	return now.Add(shift)
}
