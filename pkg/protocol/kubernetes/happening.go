package kubernetes

import (
	"errors"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// happening is one thing that a peer did on a connection that carries streams.
type happening struct {
	kind   happens
	stream uint32
	data   []byte            // of data and pings; valid until the next read
	fields map[string]string // of a stream that was opened
}

// happens is what a peer did.
type happens int

const (
	opened  happens = iota // a stream, with its fields
	replied                // the peer took a stream that we opened
	came                   // data of a stream
	ended                  // the peer sends no more on a stream
	reset                  // a stream is over, in both directions
	pinged                 // an answer is due
	left                   // the peer says that the connection is over
)

// framing turns the bytes of a connection into what happens on its streams, and
// back. It does no I/O. What is read and what is written are apart from each
// other, so that one goroutine may read while another writes.
type framing interface {
	// read takes all of b, in any pieces, and appends what happened. After an
	// error nothing more is read.
	read(b []byte, to []happening) ([]happening, error)

	open(dst []byte, stream uint32, fields map[string]string) []byte
	accept(dst []byte, stream uint32) []byte
	chunk(dst []byte, stream uint32, data []byte) []byte
	end(dst []byte, stream uint32) []byte
	reset(dst []byte, stream uint32) []byte
	pong(dst, ping []byte) []byte
	ping(dst []byte) []byte
	bye(dst []byte) []byte
}

// broken is how a peer broke its protocol. The text never holds bytes from the
// wire.
type broken string

func (b broken) Error() string { return string(b) }

// violation names the leg on which a protocol was broken. Any other error stays
// what it is.
func violation(leg protocol.Leg, err error) error {
	var how broken
	if errors.As(err, &how) {
		return &protocol.Violation{Leg: leg, Reason: string(how)}
	}
	return err
}
