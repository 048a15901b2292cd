package spool

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// scan finds the end of a segment that is there, and what cannot be read
// before it.
func (seg *segment) scan() (damage []Damage) {
	var fault error
	defer func() {
		if fault != nil { // the disk cannot be read
			damage = append(damage, Damage{Kind: AlteredSegment, Position: at(seg.number, seg.used)})
		}
	}()
	defer catchFault(&fault)()
	for {
		_, head, rest, ok := seg.entryAt(seg.used)
		if ok {
			seg.used += uint32(entrySize(len(head) + len(rest)))
			continue
		}
		next, found := seg.findEntry(seg.used + 8)
		if !found {
			break
		}
		damage = append(damage, Damage{Kind: AlteredEntry, Position: at(seg.number, seg.used), Bytes: int64(next - seg.used)})
		seg.gaps = append(seg.gaps, gap{from: seg.used, to: next})
		seg.used = next
	}
	if n := seg.litter(); n > 0 {
		damage = append(damage, Damage{Kind: TornTail, Position: at(seg.number, seg.used), Bytes: n})
	}
	return damage
}

// findEntry returns the first whole entry at or after offset.
func (seg *segment) findEntry(offset uint32) (uint32, bool) {
	for ; int64(offset)+entryHead <= int64(len(seg.data)); offset += 8 {
		if _, _, _, ok := seg.entryAt(offset); ok {
			return offset, true
		}
	}
	return 0, false
}

// litter returns how many bytes from used on have something other than zeros
// behind them.
func (seg *segment) litter() int64 {
	for i := len(seg.data) - 1; i >= int(seg.used); i-- {
		if seg.data[i] != 0 {
			return int64(i) + 1 - int64(seg.used)
		}
	}
	return 0
}

// catchFault makes a fault of mapped memory an error of the caller, which
// defers what it returns.
func catchFault(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if caught := recover(); caught != nil {
			*err = faultError(caught)
		}
	}
}

// faultError returns the error for what was recovered from a fault of mapped
// memory (SIGBUS: the disk failed, or the file was cut), and panics again for
// anything else.
func faultError(caught any) error {
	var fault interface{ Addr() uintptr }
	if cause, ok := caught.(error); !ok || !errors.As(cause, &fault) {
		panic(caught)
	}
	return fmt.Errorf("%w: fault at the mapped file", ErrFailed)
}
