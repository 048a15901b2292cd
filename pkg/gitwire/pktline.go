package gitwire

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// A pkt-line is four hexadecimal digits and what they count, themselves
// included (gitprotocol-common(5)).
const (
	packetHeader = 4
	maxPacket    = 65520 // with its header; git sends and takes no more
)

// packetKind sorts pkt-lines.
type packetKind uint8

// The kinds of pkt-line.
const (
	dataPacket  packetKind = iota // carries a payload, perhaps an empty one
	flushPacket                   // 0000
	delimPacket                   // 0001, protocol v2
	endPacket                     // 0002, protocol v2: the end of a response
)

// packet is one pkt-line. Both slices end with the next read of whoever gave
// it.
type packet struct {
	kind    packetKind
	payload []byte
	raw     []byte // as it came, header included
}

var errPacketLength = errors.New("a pkt-line has an impossible length")

// packetSize returns the size of the pkt-line that begins with header, itself
// included.
func packetSize(header []byte) (packetKind, int, error) {
	var digits [packetHeader / 2]byte
	if _, err := hex.Decode(digits[:], header[:packetHeader]); err != nil {
		return 0, 0, errPacketLength
	}
	size := int(digits[0])<<8 | int(digits[1])
	switch {
	case size < 3:
		return flushPacket + packetKind(size), packetHeader, nil
	case size == 3 || size > maxPacket:
		return 0, 0, errPacketLength
	}
	return dataPacket, size, nil
}

// line is the payload without the line feed that may end it.
func (p packet) line() string {
	if n := len(p.payload); n > 0 && p.payload[n-1] == '\n' {
		return string(p.payload[:n-1])
	}
	return string(p.payload)
}

// appendPacket appends a pkt-line. The payload fits one: whoever calls bounds
// it.
func appendPacket(dst []byte, payload string) []byte {
	dst = fmt.Appendf(dst, "%04x", len(payload)+packetHeader)
	return append(dst, payload...)
}

// The pkt-lines without a payload.
const (
	flushLine = "0000"
	delimLine = "0001"
)

// The bands of a multiplexed stream.
const (
	bandData     = 1
	bandProgress = 2 // the client prints it, each line after "remote: "
	bandError    = 3 // the client prints it and fails
)

// maxBand is what one pkt-line carries of a band: side-band-64k allows 65519,
// and this is less so that one message never fills a buffer.
const maxBand = 32 << 10

// appendBand appends data to a band, in as many pkt-lines as it takes.
func appendBand(dst []byte, band byte, data []byte) []byte {
	for len(data) > 0 {
		n := min(len(data), maxBand)
		dst = fmt.Appendf(dst, "%04x%c", n+1+packetHeader, band)
		dst = append(dst, data[:n]...)
		data = data[n:]
	}
	return dst
}
