package main

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// segment is a TCP segment from port 40000 with its checksum (RFC 9293).
func segment(src, dst netip.Addr, from, to uint16, flags byte, seq, ack uint32, text string) []byte {
	s := make([]byte, 20, 20+len(text))
	binary.BigEndian.PutUint16(s, from)
	binary.BigEndian.PutUint16(s[2:], to)
	binary.BigEndian.PutUint32(s[4:], seq)
	binary.BigEndian.PutUint32(s[8:], ack)
	s[12], s[13] = 5<<4, flags
	binary.BigEndian.PutUint16(s[14:], 64240)
	s = append(s, text...)
	binary.BigEndian.PutUint16(s[16:], checksum(src, dst, unix.IPPROTO_TCP, s))
	return s
}

const (
	tcpSyn = 0x02
	tcpRst = 0x04
	tcpAck = 0x10
	rawTCP = 40000 // the source port of crafted segments
)

func syn(to target, src netip.Addr) []byte {
	return segment(src, to.Server4, rawTCP, to.Port, tcpSyn, 1, 0, payload)
}

// datagram is a UDP datagram without a checksum, which IPv4 allows.
func datagram(port uint16) []byte {
	d := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(d, rawTCP)
	binary.BigEndian.PutUint16(d[2:], port)
	binary.BigEndian.PutUint16(d[4:], uint16(8+len(payload)))
	return append(d, payload...)
}

// checksum is the internet checksum over the pseudo header and a segment.
func checksum(src, dst netip.Addr, protocol byte, segment []byte) uint16 {
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = append(pseudo, 0, protocol, byte(len(segment)>>8), byte(len(segment)))
	return fold(append(pseudo, segment...))
}

func fold(text []byte) uint16 {
	var sum uint32
	for i := 0; i < len(text); i += 2 {
		word := uint32(text[i]) << 8
		if i+1 < len(text) {
			word |= uint32(text[i+1])
		}
		sum += word
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

const moreFragments = 0x2000

// ipv4 puts a header before a payload. Options are padded by the caller.
func ipv4(src, dst netip.Addr, protocol byte, fragment uint16, options, text []byte) []byte {
	h := make([]byte, 20, 20+len(options)+len(text))
	size := 20 + len(options)
	h[0] = 4<<4 | byte(size/4)
	binary.BigEndian.PutUint16(h[2:], uint16(size+len(text)))
	binary.BigEndian.PutUint16(h[4:], 4711)
	binary.BigEndian.PutUint16(h[6:], fragment)
	h[8], h[9] = 64, protocol
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	h = append(h, options...)
	binary.BigEndian.PutUint16(h[10:], fold(h))
	return append(h, text...)
}

// fragments are a SYN in two packets, neither of which holds both ports and
// flags.
func fragments(src netip.Addr, to target) [][]byte {
	const first = 8 // bytes, which is the unit of a fragment's offset
	whole := syn(to, src)
	return [][]byte{
		ipv4(src, to.Server4, unix.IPPROTO_TCP, moreFragments, nil, whole[:first]),
		ipv4(src, to.Server4, unix.IPPROTO_TCP, first/8, nil, whole[first:]),
	}
}

// ipv6 puts a header before a payload.
func ipv6(src, dst netip.Addr, next byte, text []byte) []byte {
	h := make([]byte, 40, 40+len(text))
	h[0] = 6 << 4
	binary.BigEndian.PutUint16(h[4:], uint16(len(text)))
	h[6], h[7] = next, 64
	copy(h[8:], src.AsSlice())
	copy(h[24:], dst.AsSlice())
	return append(h, text...)
}
