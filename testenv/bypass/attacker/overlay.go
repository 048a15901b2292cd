package main

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// overlays wrap packets for an end of a tunnel, which forwards what it unwraps.
func overlays() []technique {
	return []technique{
		{"overlay", overlay(func(to target) netip.Addr { return to.Gateway })},
		{"overlay-broadcast", overlay(func(target) netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) })},
		{"overlay-packet-socket", frame(nil, overlayFrame)},
		{"overlay-ip-in-ip", overlayIP},
	}
}

// The suite's node has this end of an overlay, as flannel makes them.
const (
	overlayPort = 8472
	overlayID   = 5
)

var overlayMAC = []byte{2, 0, 0, 0, 8, 0x72}

// wrapped is a frame for the protected server in VXLAN's header (RFC 7348).
func wrapped(src netip.Addr, to target) []byte {
	return slices.Concat([]byte{8, 0, 0, 0, 0, 0, overlayID, 0}, overlayMAC, []byte{2, 0, 0, 0, 0, 1, 8, 0}, tcpFrame(src, to)[0])
}

func overlay(end func(target) netip.Addr) func(target) seen {
	return func(to target) seen {
		src, err := ownAddress(false)
		if err != nil {
			return saw("", err)
		}
		return sendTo(unix.AF_INET, wrapped(src, to), at(unix.AF_INET, end(to), overlayPort), option{unix.SOL_SOCKET, unix.SO_BROADCAST, 1})
	}
}

// overlayFrame is a datagram for the node, without a checksum.
func overlayFrame(src netip.Addr, to target) [][]byte {
	text := wrapped(src, to)
	head := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{0x9c, 0x40}, overlayPort), uint16(8+len(text)))
	return [][]byte{ipv4(src, to.Gateway, unix.IPPROTO_UDP, 0, nil, slices.Concat(head, []byte{0, 0}, text))}
}

// overlayIP wraps the packet in another one for the node.
func overlayIP(to target) seen {
	src, err := ownAddress(false)
	if err != nil {
		return saw("", err)
	}
	return sendRaw(unix.AF_INET, unix.IPPROTO_IPIP, tcpFrame(src, to)[0], at(unix.AF_INET, to.Gateway, 0))
}
