package redirect_test

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

func mapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}

func TestConnectionArrivesWithItsRecord(t *testing.T) {
	l := newLab(t)
	for _, tc := range []struct {
		name    string
		network string
		to      netip.AddrPort
		want    netip.AddrPort
	}{
		{"IPv4", "tcp4", l.server4, l.server4},
		{"IPv6", "tcp6", l.server6, l.server6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := time.Now()
			client, err := dialFrom(t, l.job, tc.network, tc.to)
			must(t, err)
			got := l.accept(t).Origin
			if got.Destination != tc.want {
				t.Errorf("destination = %s, want %s", got.Destination, tc.want)
			}
			if int(got.PID) != os.Getpid() || int(got.UID) != os.Getuid() {
				t.Errorf("pid, uid = %d, %d, want %d, %d", got.PID, got.UID, os.Getpid(), os.Getuid())
			}
			if got.Started.After(before) || got.Started.Before(before.Add(-time.Hour)) {
				t.Errorf("process started at %s, now is %s", got.Started, before)
			}
			if peer := client.RemoteAddr().String(); peer != tc.want.String() {
				t.Errorf("the client sees %s as its peer, want %s", peer, tc.want)
			}
		})
	}
}

func TestAgentReachesTheServerThatWorkloadsCannot(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := l.agent.Dial(ctx, l.server4)
	must(t, err)
	defer func() { _ = conn.Close() }()
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	must(t, err)
	if host, _, err := net.SplitHostPort(greeting[:len(greeting)-1]); err != nil || host != l.slice.Host4(10).String() {
		t.Errorf("the server sees %q, want the agent's own address %s", greeting, l.slice.Host4(10))
	}
}

func TestUnprotectedPortOfTheSameHostIsUntouched(t *testing.T) {
	l := newLab(t)
	conn, err := dialFrom(t, l.job, "tcp4", netip.AddrPortFrom(l.server4.Addr(), openPort))
	must(t, err)
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	must(t, err)
	if greeting != conn.LocalAddr().String()+"\n" {
		t.Errorf("the server sees %q, want the job itself, %s", greeting, conn.LocalAddr())
	}
}
