package redirect

import (
	"encoding/binary"
	"net/netip"
)

// The programs keep addresses as four words and ports as one, all in network
// byte order: in memory they are the bytes of the wire.

func words(a netip.Addr) (w [4]uint32) {
	b := a.As16() // IPv4 becomes ::ffff:a.b.c.d, as in addr.h
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

func address(w [4]uint32) netip.Addr {
	var b [16]byte
	for i, word := range w {
		binary.NativeEndian.PutUint32(b[4*i:], word)
	}
	return netip.AddrFrom16(b).Unmap()
}

// networkOrder turns a port around; it is its own inverse.
func networkOrder(port uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port))
}
