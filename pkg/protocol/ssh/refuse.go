package ssh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// remindEvery is how often a client that waits is told so.
const remindEvery = 10 * time.Second

var errEnded = errors.New("the operation has ended")

// refusal says in words for the client why an operation was refused.
func refusal(d protocol.Decision, err error) string {
	if errors.Is(err, context.Canceled) {
		return "sluice: it was withdrawn"
	}
	if err != nil {
		return "sluice: it could not be decided, so it is refused"
	}
	text := "refused by the policy's default"
	if d.Rule != "" {
		text = fmt.Sprintf("refused by rule %q", d.Rule)
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
	return printable("sluice: " + text)
}

// approved says who released what the client waited for; "" when it did not
// wait.
func approved(d protocol.Decision) string {
	if d.Approval == 0 || d.Effect != protocol.Allow {
		return ""
	}
	text := fmt.Sprintf("sluice: approval #%d: approved", d.Approval)
	if d.Decider != "" {
		text += " by " + d.Decider
	}
	return printable(text)
}

// reminder says that the client waits. One has to be made for each operation.
type reminder struct {
	told bool
	next time.Duration
}

// text is what to say now; "" for nothing.
func (r *reminder) text(why protocol.Waiting) string {
	if r.told && why.Elapsed < r.next {
		return ""
	}
	r.told, r.next = true, why.Elapsed+remindEvery
	text := "sluice: waiting for an approval"
	if why.Approval != 0 {
		text = fmt.Sprintf("sluice: waiting for approval #%d", why.Approval)
	}
	if why.Rule != "" {
		text += fmt.Sprintf(" by rule %q", why.Rule)
	}
	if why.Reason != "" {
		text += ": " + why.Reason
	}
	if why.Link != "" {
		text += " (decide at " + why.Link + ")"
	}
	return printable(text)
}

// printable drops what would drive a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}
