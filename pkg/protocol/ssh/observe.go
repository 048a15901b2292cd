package ssh

import (
	"bytes"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// lookSSH is a protocol.Look at what each side says that it is (RFC 4253,
// section 4.2). A server may send other lines before.
func lookSSH(_ protocol.Leg, head []byte) (fact string, more bool) {
	for {
		line, rest, whole := bytes.Cut(head, []byte("\n"))
		if !whole {
			return "", len(line) <= maxIdentification || !bytes.HasPrefix(line, []byte("SSH-"))
		}
		if bytes.HasPrefix(line, []byte("SSH-")) {
			return string(bytes.TrimSuffix(line, []byte("\r"))), false
		}
		head = rest
	}
}
