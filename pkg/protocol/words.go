package protocol

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Refusal says in words for the client why something was refused.
func (d Decision) Refusal() string {
	text := "sluice: refused by the policy's default"
	if d.Rule != "" {
		text = fmt.Sprintf("sluice: refused by rule %q", d.Rule)
	}
	if d.Approval != 0 {
		text += fmt.Sprintf(", approval #%d", d.Approval)
	}
	if d.Decider != "" {
		text += ", decided by " + d.Decider
	}
	if d.Reason != "" {
		text += ": " + d.Reason
	}
	return Printable(text)
}

// Release says who let go on what the client waited for, or would have waited
// for; "" where nobody was needed, and of a refusal.
func (d Decision) Release() string {
	switch {
	case d.Effect != Allow, d.Approval == 0 && d.Decider == "":
		return ""
	case d.Approval == 0:
		return Printable("sluice: " + d.Reason)
	}
	text := fmt.Sprintf("sluice: approval #%d: approved", d.Approval)
	if d.Decider != "" {
		text += " by " + d.Decider
	}
	return Printable(text)
}

// String says in words for the client what it waits for. What a person chose
// stands behind what is ours, so that cutting it off loses nothing else.
func (w Waiting) String() string {
	text := "sluice: waiting for an approval"
	if w.Approval != 0 {
		text = fmt.Sprintf("sluice: waiting for approval #%d", w.Approval)
	}
	if w.Rule != "" {
		text += fmt.Sprintf(" by rule %q", w.Rule)
	}
	if !w.Deadline.IsZero() {
		text += ", until " + w.Deadline.UTC().Format(time.RFC3339)
	}
	if w.Reason != "" {
		text += ": " + w.Reason
	}
	if w.Link != "" {
		text += " (decide at " + w.Link + ")"
	}
	return Printable(text)
}

// Reminder says when a client that waits is told so: at once, and then now and
// again. The zero value is one for one operation.
type Reminder struct {
	told bool
	next time.Duration
}

// Due reports whether to tell it now, where that is done every so often.
func (r *Reminder) Due(elapsed, every time.Duration) bool {
	if r.told && elapsed < r.next {
		return false
	}
	r.told, r.next = true, elapsed+every
	return true
}

// Printable makes one line of a text, without what would end a string of C or
// drive a terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return -1
		}
		return r
	}, text)
}

// RefusalOf says in words for the client why Ask let nothing pass.
func RefusalOf(d Decision, err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "sluice: it was withdrawn"
	case err != nil:
		return "sluice: it could not be decided, so it is refused"
	}
	return d.Refusal()
}

// remindEvery is how often a client that waits is told so.
const remindEvery = 10 * time.Second

// Text is what to say now to a client whose protocol has room for lines of
// text; "" for nothing.
func (r *Reminder) Text(why Waiting) string {
	if !r.Due(why.Elapsed, remindEvery) {
		return ""
	}
	return why.String()
}
