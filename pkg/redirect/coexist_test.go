package redirect_test

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// word is an IPv4 address as a program reads it from its context.
func word(a netip.Addr) uint32 { return binary.NativeEndian.Uint32(a.AsSlice()) }

// cgroupRoot is where a socket balancer attaches, too.
func cgroupRoot(t testing.TB) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		if field := strings.Fields(line); len(field) > 2 && field[2] == "cgroup2" {
			return field[1]
		}
	}
	t.Fatal("cgroup v2 is mounted nowhere")
	return ""
}

// balance attaches a program as a load balancer of sockets does (Cilium's
// replacement of kube-proxy, for one): whoever connects to the service is sent
// to the backend. It decides at the same place as the agent's own program.
func balance(t testing.TB, service, backend netip.Addr) {
	t.Helper()
	const userIP4 = 4 // offset in struct bpf_sock_addr
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, License: "MIT",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, userIP4, asm.Word),
			asm.LoadImm(asm.R3, int64(word(service)), asm.DWord),
			asm.JNE.Reg(asm.R2, asm.R3, "pass"),
			asm.LoadImm(asm.R2, int64(word(backend)), asm.DWord),
			asm.StoreMem(asm.R1, userIP4, asm.R2, asm.Word),
			asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"),
			asm.Return(),
		},
	})
	must(t, err)
	closeLater(t, program.Close)
	attached, err := link.AttachCgroup(link.CgroupOptions{
		Path: cgroupRoot(t), Attach: ebpf.AttachCGroupInet4Connect, Program: program,
	})
	must(t, err)
	closeLater(t, attached.Close)
}

// A balancer that comes first is no different from a program that asks for the
// backend itself.
func TestBalancerBeforeTheAgentIsFollowed(t *testing.T) {
	l := newNetwork(t)
	service := netip.AddrPortFrom(l.slice.Host4(5), protectedPort)
	balance(t, service.Addr(), l.server4.Addr())
	l.pins = filepath.Join(t.TempDir(), "pins")
	l.openAgent(t)
	l.runAgent(t)

	_, err := dialFrom(t, l.job, "tcp4", service)
	must(t, err)
	if got := l.accept(t).Origin.Destination; got != l.server4 {
		t.Errorf("destination = %s, want %s", got, l.server4)
	}
}

// After the agent's own program has seen the service only, the backend is out
// of reach: the egress hook sees where packets go.
func TestBalancerAfterTheAgentReachesNothing(t *testing.T) {
	l := newLab(t)
	service := netip.AddrPortFrom(l.slice.Host4(5), protectedPort)
	balance(t, service.Addr(), l.server4.Addr())
	wire := l.tapServer(t)
	fd := socketIn(t, l.job, unix.AF_INET, unix.SOCK_STREAM, 0)
	must(t, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 1))
	limit := unix.Timeval{Sec: 1}
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
	if err := unix.Connect(fd, sockaddr(unix.AF_INET, service)); err == nil {
		t.Error("connect = nil, want an error")
	}
	if alert := l.wantAlert(t, redirect.AlertDropped); alert.Destination != l.server4 {
		t.Errorf("alert = %+v, want one about %s", alert, l.server4)
	}
	if got := wire.until(t, l.sentinel(t), to(l.server4)); len(got) > 0 {
		t.Errorf("%d packets arrived at the server, want none; the first is %x", len(got), got[0])
	}

	// Protecting the service itself brings its clients to the agent.
	must(t, l.agent.Protect(append(l.destinations(), redirect.Destination{
		Prefix: netip.PrefixFrom(service.Addr(), 32), Port: service.Port(),
	})))
	_, err := dialFrom(t, l.job, "tcp4", service)
	must(t, err)
	if got := l.accept(t).Origin.Destination; got != service {
		t.Errorf("destination = %s, want %s", got, service)
	}
}
