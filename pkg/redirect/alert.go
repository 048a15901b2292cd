package redirect

import (
	"fmt"
	"net/netip"
)

// AlertKind is what an alert is about.
type AlertKind string

// The kinds of alerts.
const (
	// AlertDropped: packets to a protected destination that the agent did not
	// send. Somebody went round the socket hooks and was stopped.
	AlertDropped AlertKind = "packets_dropped"
	// AlertNoRecord: a connection reached a listener without coming through
	// the connect hook. It was reset.
	AlertNoRecord AlertKind = "no_record"
	// AlertWrongNamespace: a connection's record names another network
	// namespace than its listener's. It was reset.
	AlertWrongNamespace AlertKind = "wrong_namespace"
	// AlertUnknownNamespace: a workload asked for a protected destination in a
	// network namespace that could not be found. It is refused.
	AlertUnknownNamespace AlertKind = "unknown_namespace"
	// AlertNoListener: a network namespace was found, but no listener could be
	// opened in it. Its workloads are refused.
	AlertNoListener AlertKind = "no_listener"
	// AlertTooManyNamespaces: a container has more network namespaces than the
	// agent listens in for one. The ones beyond are refused.
	AlertTooManyNamespaces AlertKind = "too_many_namespaces"
	// AlertUnguardedLink: a program could not be attached to a network link.
	// Packets that no socket sent may pass there.
	AlertUnguardedLink AlertKind = "unguarded_link"
	// AlertSelfTest: a program was detached, or a connection of the agent's own
	// was not redirected. What is still attached goes on guarding.
	AlertSelfTest AlertKind = "self_test_failed"
	// AlertExempt: a process of an exempt cgroup connected to a protected
	// destination, without the agent. It was let through.
	AlertExempt AlertKind = "exempt_connection"
	// AlertOpenConnection: connections to a protected destination were there
	// before the first agent. Its detail says what became of them.
	AlertOpenConnection AlertKind = "open_connection"
)

// Alert is something that should not happen and, unless its kind says otherwise,
// was stopped.
type Alert struct {
	Kind        AlertKind
	Destination netip.AddrPort // zero where none is known
	CgroupID    uint64         // of the sender; 0 where it is not known
	NetnsCookie uint64         // 0 where it is not known
	Link        string         // that the packets came through; empty where a socket sent them
	Count       uint64         // packets or connections that this alert stands for
	Detail      string
}

// alertBacklog is how many alerts wait for a reader.
const alertBacklog = 256

// Alerts returns the channel of alerts. It is never closed. Alerts that find it
// full are counted as alerts_lost and gone.
func (r *Redirect) Alerts() <-chan Alert { return r.alerts }

func (r *Redirect) raise(a Alert) {
	select {
	case r.alerts <- a:
	default:
		r.lost.Add(1)
	}
}

// alert is about packets that a program dropped. One that came through a link may
// have lost its cgroup; then the namespace behind the link is all that is known.
func (r *Redirect) alert(d redirectDrop) Alert {
	a := Alert{
		Kind:        AlertDropped,
		Destination: netip.AddrPortFrom(address(d.Destination.Word), networkOrder(d.Port)),
		CgroupID:    d.CgroupId,
		Count:       uint64(d.Packets),
		Detail:      fmt.Sprintf("ip protocol %d", d.IpProtocol),
	}
	if d.Ifindex != 0 {
		a.Link, a.NetnsCookie = r.behind(int(d.Ifindex))
		a.Detail += " through link " + a.Link
	}
	return a
}

func (e redirectExemption) alert() Alert {
	return Alert{
		Kind:        AlertExempt,
		Destination: netip.AddrPortFrom(address(e.Destination.Word), networkOrder(e.Port)),
		CgroupID:    e.CgroupId,
		NetnsCookie: e.NetnsCookie,
		Count:       1,
		Detail:      fmt.Sprintf("pid %d", e.Pid),
	}
}
