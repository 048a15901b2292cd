package bypass

// row is a technique and what must stop it.
type row struct {
	name string
	// stops are the hooks of which one must stop it: a counter of the agent's
	// programs that has to move, or, for what is not the agent's, a barrier and
	// the error that shows it, as "capabilities: operation not permitted".
	stops []string
	// admin are those with CAP_NET_ADMIN and CAP_NET_RAW; nil means the same.
	admin []string
	// alone says that the technique means nothing towards a server that is not
	// protected, so that there is no control.
	alone bool
	// older says that the destination is protected only when the technique
	// pauses.
	older bool
}

const (
	redirected   = "connect_redirected"
	noCapability = "capabilities: operation not permitted"
	noAccess     = "capabilities: permission denied"
	noSyscall    = "seccomp: operation not permitted"
	noProtocol   = "kernel: protocol not supported"
	noFamily     = "kernel: address family not supported"
	noSocketType = "kernel: socket type not supported"
	noPath       = "mounts: no such file or directory"
	readOnly     = "mounts: read-only file system"
	noProcess    = "pid namespace: no such process"
	otherPort    = "kernel: another port"
	inUse        = "kernel: address already in use"
)

func hooks(names ...string) []string { return names }

// rows is the table. Each runs in a container with Docker's default
// capabilities, and again with CAP_NET_ADMIN and CAP_NET_RAW added.
func rows() []row {
	packet := hooks("egress_dropped")
	portless := hooks("egress_dropped_no_port")
	frame := hooks("link_in_dropped", "link_in_dropped_no_port")
	datagram := hooks("connect_refused_protocol")
	sendmsg := hooks("sendmsg_refused")
	listener := hooks("connect_refused_listener")
	bind := hooks("bind_refused")
	return []row{
		{name: "tcp", stops: hooks(redirected)},
		{name: "tcp-ipv6", stops: hooks(redirected)},
		{name: "tcp-mapped", stops: hooks(redirected)},
		{name: "mptcp", stops: hooks(redirected)},
		{name: "mptcp-ipv6", stops: hooks(redirected)},
		{name: "fastopen-connect", stops: hooks(redirected)},
		{name: "mptcp-fastopen-connect", stops: hooks(redirected)},
		{name: "fastopen-sendto", stops: hooks(redirected)},
		{name: "mptcp-fastopen-sendto", stops: hooks(redirected)},
		{name: "mark", stops: hooks(redirected, noCapability)},
		{name: "non-blocking", stops: hooks(redirected)},
		{name: "bind-device", stops: hooks("connect_refused_device")},
		{name: "bind-port", stops: hooks(redirected)},
		{name: "freebind", stops: hooks(redirected), alone: true},
		{name: "sctp", stops: hooks(noProtocol, noSocketType, "connect_refused_protocol"), alone: true},
		{name: "smc", stops: hooks(noFamily, redirected), alone: true},
		{name: "uring-connect", stops: hooks(redirected)},
		{name: "uring-connect-sqpoll", stops: hooks(redirected)},
		{name: "uring-sendmsg", stops: sendmsg},

		{name: "unspec-reconnect", stops: hooks(redirected)},
		{name: "repair", stops: hooks(noCapability), admin: hooks(redirected), alone: true},
		{name: "older-connection", stops: packet, older: true, alone: true},

		{name: "udp-connected", stops: datagram},
		{name: "udp-connected-ipv6", stops: datagram},
		{name: "udp-sendto", stops: sendmsg},
		{name: "udp-sendto-ipv6", stops: sendmsg},
		{name: "udp-sendto-mapped", stops: sendmsg},
		{name: "udp-unspec", stops: sendmsg},
		{name: "udp-cork", stops: sendmsg},
		{name: "udp-gso", stops: sendmsg},
		{name: "quic", stops: sendmsg},

		{name: "raw-tcp", stops: packet},
		{name: "raw-udp", stops: packet},
		{name: "raw-sctp", stops: portless},
		{name: "raw-gre", stops: portless},
		{name: "raw-tcp-ipv6", stops: packet},
		{name: "raw-sctp-ipv6", stops: portless},
		{name: "raw-header", stops: packet},
		{name: "raw-fragments", stops: portless},
		{name: "raw-tiny", stops: portless},
		{name: "raw-spoofed-source", stops: packet},
		{name: "raw-ip-in-ip", stops: portless},
		{name: "source-route", stops: hooks("egress_dropped_route")},
		{name: "source-route-socket", stops: hooks(redirected), alone: true},
		{name: "routing-header", stops: hooks("egress_dropped_route")},

		{name: "packet-socket", stops: frame},
		{name: "packet-socket-qdisc-bypass", stops: frame},
		{name: "packet-socket-udp", stops: frame},
		{name: "packet-socket-fragments", stops: frame},
		{name: "packet-socket-vlan", stops: frame},
		{name: "packet-socket-ipv6", stops: frame},
		{name: "tun", stops: hooks(noPath), admin: frame},

		{name: "iptables-dnat", stops: hooks(noAccess, noCapability, "iptables: "), admin: packet},
		{name: "iptables-dnat-udp", stops: hooks(noAccess, noCapability, "iptables: "), admin: packet},
		{name: "iptables-listener-dnat", stops: hooks(noAccess, noCapability, "iptables: "), admin: packet, alone: true},
		{name: "traffic-control", stops: hooks(noCapability), admin: append(hooks("kernel: talking to the kernel"), frame...), alone: true},
		{name: "policy-route", stops: hooks(noCapability), admin: hooks(redirected)},

		{name: "listener", stops: listener, alone: true},
		{name: "listener-other-loopback", stops: listener, alone: true},
		{name: "listener-any", stops: listener, alone: true},
		{name: "listener-ipv6", stops: listener, alone: true},
		{name: "listener-mapped", stops: listener, alone: true},
		{name: "listener-mptcp", stops: listener, alone: true},
		{name: "listener-stale-record", stops: listener, alone: true},
		{name: "listener-replayed-tuple", stops: listener, alone: true},
		{name: "listener-raw-handshake", stops: hooks(noAccess, noCapability), admin: hooks("record_missing"), alone: true},
		{name: "bind-reuseport", stops: bind, alone: true},
		{name: "bind-any", stops: bind, alone: true},
		{name: "bind-any-ipv6", stops: bind, alone: true},
		{name: "bind-mapped", stops: bind, alone: true},
		{name: "bind-other-loopback", stops: bind, alone: true},
		{name: "bind-mptcp", stops: bind, alone: true},
		{name: "port-range-sysctl", stops: hooks(readOnly), alone: true},
		{name: "port-range-socket", stops: hooks(otherPort, inUse), alone: true},

		{name: "own-namespaces", stops: hooks(noSyscall), alone: true},
		{name: "cgroup-write", stops: hooks(readOnly, noAccess), alone: true},
		{name: "cgroup-mount", stops: hooks(noCapability, noAccess), alone: true},

		{name: "signal-agent", stops: hooks(noProcess), alone: true},
		{name: "ptrace-agent", stops: hooks(noProcess, noSyscall), alone: true},
		{name: "read-agents-memory", stops: hooks(noPath), alone: true},
		{name: "agents-files", stops: hooks(noPath), alone: true},
		{name: "agents-pins", stops: hooks(noPath), alone: true},
		{name: "mount-bpffs", stops: hooks(noCapability, noAccess), alone: true},
		{name: "bpf-link-detach", stops: hooks(noSyscall), alone: true},
		{name: "bpf-prog-detach", stops: hooks(noSyscall), alone: true},
		{name: "nested-container", stops: hooks(noCapability, noAccess), alone: true},
		{name: "runtime-socket", stops: hooks(noPath), alone: true},
	}
}
