package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Path names a file or directory. A relative one is relative to the directory
// of the configuration file.
type Path string

// Duration is a time span as in 90s or 10m. It is never negative.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	span, err := time.ParseDuration(string(text))
	if err != nil || span < 0 {
		return fmt.Errorf("%q is not a duration: write one as in 90s or 10m", text)
	}
	*d = Duration(span)
	return nil
}

// MarshalText writes what UnmarshalText reads, without the parts that are zero
// at its end: 1h, not 1h0m0s.
func (d Duration) MarshalText() ([]byte, error) {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return []byte(text), nil
}

// Size is a number of bytes as in 64KiB, 256MiB or 1GiB; a bare number is
// bytes. It is never negative.
type Size int64

// units are the multiples that a size can be written in, largest first.
var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

// UnmarshalText reads a whole number with a unit.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range units {
		digits, found := strings.CutSuffix(string(text), unit.name)
		if !found {
			continue
		}
		number, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 62)
		if err != nil || number > uint64(1<<62/unit.bytes) {
			break
		}
		*s = Size(int64(number) * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size: write one as in 64KiB, 256MiB or 1GiB", text)
}

// MarshalText writes the size in the largest unit that fits it.
func (s Size) MarshalText() ([]byte, error) {
	for _, unit := range units {
		if s > 0 && int64(s)%unit.bytes == 0 {
			return fmt.Appendf(nil, "%d%s", int64(s)/unit.bytes, unit.name), nil
		}
	}
	return []byte("0"), nil
}

// Address is an IP address and port to listen on, as in 127.0.0.1:9402. The
// zero value means not to listen.
type Address struct{ netip.AddrPort }

// UnmarshalText reads an address with its port; the port 0 asks for any.
func (a *Address) UnmarshalText(text []byte) error {
	parsed, err := netip.ParseAddrPort(string(text))
	if err != nil {
		if host, _, err := net.SplitHostPort(string(text)); err == nil && host == "" {
			return fmt.Errorf("%q names no address: write which to listen on, as in 127.0.0.1%s or 0.0.0.0%[1]s", text, text)
		}
		return fmt.Errorf("%q is not an address: write IP and port, as in 127.0.0.1:9402", text)
	}
	a.AddrPort = parsed
	return nil
}

// MarshalText writes what UnmarshalText reads; nothing for the zero value.
func (a Address) MarshalText() ([]byte, error) {
	if !a.IsValid() {
		return nil, nil
	}
	return []byte(a.AddrPort.String()), nil
}
