package httpproxy

import (
	"bytes"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// openings begin what a client sends: a TLS handshake record, or HTTP without
// TLS, which is recognised so that it is refused in its own words.
var openings = [][]byte{
	[]byte("\x16\x03"), []byte("PRI * HTTP/2.0"), []byte("GET "), []byte("POST "), []byte("PUT "), []byte("PATCH "), []byte("DELETE "),
	[]byte("HEAD "), []byte("OPTIONS "),
}

// Recognize looks for the beginning of TLS or HTTP, as protocol.Protocol demands.
func Recognize(prefix []byte) protocol.Match {
	for _, opening := range openings {
		n := min(len(prefix), len(opening))
		if !bytes.Equal(prefix[:n], opening[:n]) {
			continue
		}
		if n == len(opening) {
			return protocol.Yes
		}
		return protocol.NeedMore
	}
	return protocol.No
}
