package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stacks speak TCP without the kernel's.
func stacks() []technique {
	return []technique{{"tun", tun}}
}

const tunName = "evil0"

// tun is a router in the job: packets of a TCP stack in user space enter the
// kernel through a tun device and are forwarded, not sent by a socket.
func tun(to target) seen {
	device, err := openTun()
	if err != nil {
		return saw("tun", err)
	}
	defer func() { _ = device.Close() }()
	const masquerade = "POSTROUTING -s 198.19.0.0/24 -j MASQUERADE"
	defer func() { _ = steps("iptables -w -t nat -D " + masquerade) }()
	err = steps("ip addr add 198.19.0.1/24 dev "+tunName, "ip link set "+tunName+" up", "iptables -w -t nat -A "+masquerade)
	if err != nil {
		return seen{Saw: err.Error()}
	}
	if forward, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err != nil || forward[0] != '1' {
		return seen{Saw: "the container does not forward"}
	}
	return handshake(device, netip.MustParseAddr("198.19.0.2"), to)
}

func openTun() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], tunName)
	request.flags = unix.IFF_TUN | unix.IFF_NO_PI
	if err := call(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); err != nil {
		return nil, fmt.Errorf("make: %w", err)
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// handshake opens a connection with packets of its own and reads the first
// words.
func handshake(device *os.File, src netip.Addr, to target) seen {
	send := func(flags byte, seq, ack uint32, text string) error {
		s := segment(src, to.Server4, rawTCP, to.Port, flags, seq, ack, text)
		_, err := device.Write(ipv4(src, to.Server4, unix.IPPROTO_TCP, 0, nil, s))
		return err
	}
	if err := send(tcpSyn, 1, 0, ""); err != nil {
		return saw("write", err)
	}
	if err := device.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return saw("", err)
	}
	for packet := make([]byte, 2048); ; {
		n, err := device.Read(packet)
		if err != nil {
			return seen{Saw: "handshake: time-out"}
		}
		if n < 40 || packet[0]>>4 != 4 || packet[9] != unix.IPPROTO_TCP {
			continue
		}
		s := packet[int(packet[0]&15)*4 : n]
		if s[13]&tcpSyn != 0 {
			ack := binary.BigEndian.Uint32(s[4:]) + 1
			_ = send(tcpAck, 2, ack, payload) // that it answered is enough
			_ = send(tcpRst, 2+uint32(len(payload)), ack, "")
			return seen{Saw: fmt.Sprintf("a handshake with port %d", to.Port), Gained: portOf(s) == rawTCP}
		}
	}
}
