package ssh

import (
	"net/netip"
	"strconv"
	"strings"
)

// numeric returns a host as a resolver reads it, when it is an address in any
// of the forms of inet_aton(3), and whether it is the host's own. A host
// reaches itself by 127.0.0.0/8, ::1, and the addresses that are no address.
func numeric(host string) (address string, loopback bool) {
	host = strings.TrimSuffix(host, ".")
	addr, err := netip.ParseAddr(host)
	if err != nil {
		if addr, err = inetAton(host); err != nil {
			name := strings.ToLower(host)
			return name, name == "localhost" || strings.HasSuffix(name, ".localhost") || name == "localhost.localdomain" || name == "ip6-localhost"
		}
	}
	addr = addr.Unmap().WithZone("")
	return addr.String(), addr.IsLoopback() || addr.IsUnspecified()
}

// inetAton reads one to four numbers, decimal, octal or hexadecimal, of which
// the last fills what is left.
func inetAton(host string) (netip.Addr, error) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, strconv.ErrSyntax
	}
	var value uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil || strings.ContainsAny(part, "_oObB") && !strings.HasPrefix(strings.ToLower(part), "0x") {
			return netip.Addr{}, strconv.ErrSyntax
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), nil
}
