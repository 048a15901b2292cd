package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// legs attack the agent's own connections to the server, of which the suite
// opens one during the pause.
func legs() []technique {
	return []technique{
		{"leg-sniff", sniff},
		{"leg-listen", listenInFront},
		{"leg-reset", resetLeg},
		{"leg-neighbour", neighbourLeg},
	}
}

// legSecret is what the suite sends through the leg.
const legSecret = "of another job"

// sniff captures all that passes any link of the job's namespace.
func sniff(target) seen {
	fd, err := open(unix.AF_PACKET, unix.SOCK_RAW, int(networkOrder(unix.ETH_P_ALL)))
	if err != nil {
		return saw("", err)
	}
	pause()
	frames := 0
	for end, buffer := time.Now().Add(patience), make([]byte, 65536); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			break
		}
		frames++
		if bytes.Contains(buffer[:n], []byte(legSecret)) {
			return seen{Saw: "read another job's bytes", Gained: true}
		}
	}
	return seen{Saw: "capture: nothing of another job"}
}

// listenInFront takes the server's address and waits for the agent.
func listenInFront(to target) seen {
	if err := steps("ip addr add " + to.Server4.String() + "/32 dev " + uplink()); err != nil {
		return seen{Saw: err.Error()}
	}
	defer func() { _ = steps("ip addr del " + to.Server4.String() + "/32 dev " + uplink()) }()
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.Bind(fd, at(unix.AF_INET, to.Server4, to.Leg)); err != nil {
		return saw("bind", err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		return saw("listen", err)
	}
	pause()
	_, _, err = unix.Accept(fd)
	return gaining("accept", err)
}

// resetLeg sends resets in the server's name to every port that the agent may
// have.
func resetLeg(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return saw("", err)
	}
	sent := 0
	for port := 32768; port <= 60999; port++ {
		s := segment(to.Server4, to.Gateway, to.Leg, uint16(port), tcpRst, uint32(port)*7919, 0, "")
		if unix.Sendto(fd, ipv4(to.Server4, to.Gateway, unix.IPPROTO_TCP, 0, nil, s), 0, at(unix.AF_INET, to.Gateway, 0)) == nil {
			sent++
		}
	}
	return seen{Saw: fmt.Sprintf("%d resets: sent", sent)}
}

// neighbourLeg is the other job, which does no harm: it uses a leg before and
// after the pause.
func neighbourLeg(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return saw("", err)
	}
	if err := unix.Connect(fd, at(unix.AF_INET, to.Server4, to.Leg)); err != nil {
		return saw("connect", err)
	}
	for _, between := range []func(){pause, func() {}} {
		if _, err := unix.Write(fd, []byte(legSecret)); err != nil {
			return saw("write", err)
		}
		for heard := ""; !strings.Contains(heard, legSecret); {
			answer := make([]byte, 256)
			n, err := read(fd, answer)
			if err != nil || n == 0 {
				return saw("read", errors.Join(err, errors.New("the leg is gone")))
			}
			heard += string(answer[:n])
		}
		between()
	}
	return seen{Saw: "the leg works"}
}
