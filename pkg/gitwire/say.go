package gitwire

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// refusal says in words for the client why something was refused.
func refusal(d protocol.Decision, err error) string {
	if err != nil {
		return "sluice could not decide about this, so it is refused"
	}
	text := "refused by the policy's default"
	if d.Rule != "" {
		text = fmt.Sprintf("refused by rule %q", d.Rule)
	}
	return printable("sluice: " + text + decided(d))
}

// approval says who let a held operation go on; empty: nobody was asked.
func approval(d protocol.Decision) string {
	if d.Approval == 0 {
		return ""
	}
	return printable("sluice: approved" + decided(d))
}

func decided(d protocol.Decision) string {
	var text strings.Builder
	if d.Approval != 0 {
		fmt.Fprintf(&text, ", approval #%d", d.Approval)
	}
	if d.Decider != "" {
		text.WriteString(", decided by " + d.Decider)
	}
	if d.Reason != "" {
		text.WriteString(": " + d.Reason)
	}
	return text.String()
}

// waitingText says what is waited for.
func waitingText(w protocol.Waiting) string {
	text := "sluice: waiting for an approval"
	if w.Approval != 0 {
		text = fmt.Sprintf("sluice: waiting for approval #%d", w.Approval)
	}
	text += fmt.Sprintf(" (rule %q, until %s)", w.Rule, w.Deadline.UTC().Format(time.RFC3339))
	if w.Reason != "" {
		text += ": " + w.Reason
	}
	if w.Link != "" {
		text += " " + w.Link
	}
	return printable(text)
}

// maxSaid bounds a text for the client: it has to fit a pkt-line beside the
// name of a reference.
const maxSaid = 1 << 10

// printable makes one line that drives no terminal.
func printable(text string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return -1
		}
		return r
	}, text)
	return strings.ToValidUTF8(clean[:min(len(clean), maxSaid)], "")
}
