package gitwire

import (
	"strings"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// refusal says in words for the client why something was refused.
func refusal(d protocol.Decision, err error) string {
	if err != nil {
		return "sluice could not decide about this, so it is refused"
	}
	return printable(d.Refusal())
}

// maxSaid bounds a text for the client: it has to fit a pkt-line beside the
// name of a reference.
const maxSaid = 1 << 10

// printable makes one line that fits.
func printable(text string) string {
	clean := protocol.Printable(text)
	return strings.ToValidUTF8(clean[:min(len(clean), maxSaid)], "")
}
