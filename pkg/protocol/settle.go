package protocol

import "net"

// Settle makes the coming close of a client leg an ordinary one, for a
// protocol with an engine of its own. The leg resets when it is closed unsaid,
// as by the death of this process, so that nobody takes a truncated answer for
// a whole one; a session that ended by its own word says so first.
func Settle(client net.Conn) {
	if tcp, ok := client.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(-1) // the peer may be gone already
	}
}
