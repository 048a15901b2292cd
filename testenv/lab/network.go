package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// bridge is the node's address on the network of the job containers, in the
// range for benchmarks (RFC 2544). It exists only inside the node's netns.
const bridge = "198.18.0.1/24"

// address returns an address of the lab's slice of the documentation ranges:
// 1 to 7 are the servers' network, 9 and 10 the link to this machine.
func (l *lab) address(n byte) string {
	a := l.Slice.Addr().As4()
	a[3] += n
	return netip.AddrFrom4(a).String()
}

// servers maps the names that jobs use to addresses.
func (l *lab) servers() map[string]string {
	servers := map[string]string{"pg.lab": l.address(2), "mysql.lab": l.address(2), "web.lab": l.address(2), "ssh.lab": l.address(4), "git.lab": l.address(5)}
	if l.Kube {
		servers["kube.lab"] = l.address(6)
	}
	return servers
}

func (l *lab) nodeAddress() string { return l.address(10) }

func (l *lab) netnsOf(server string) string { return l.Node + "-" + server }

// inNetns is argv run in a named network namespace. nsenter, unlike ip netns
// exec, leaves the mounts alone: Docker and the agent need the cgroup trees.
func (l *lab) inNetns(netns string, argv ...string) []string {
	return append([]string{"nsenter", "--net=/run/netns/" + netns, "--"}, argv...)
}

// takeSlice reserves addresses: programs at the cgroup root see the whole
// machine, so labs side by side must not protect each other's servers. The
// database server inherits the lock and so keeps them.
func (l *lab) takeSlice() error {
	slice, err := netlab.Take()
	if err != nil {
		return err
	}
	l.slice, l.Slice, l.Port = slice, slice.V4, slice.Port
	octets := slice.V4.Addr().As4()
	l.Node = fmt.Sprintf("slab%d-%d", octets[2], octets[3])
	return nil
}

// makeNetwork makes the runner node with a bridge to its servers and a link to
// this machine:
//
//	this machine ── .8/30 ── node ── .0/29 (bridge) ── pg, git, kube, ssh
//	                          │                                            └ links to the others
//	                          └── 198.18.0.0/24 (Docker's) ── jobs
func (l *lab) makeNetwork() error {
	if err := l.takeSlice(); err != nil {
		return err
	}
	if err := l.save(); err != nil {
		return err
	}
	n, host := l.Node, l.Node+"-up"
	script := []string{
		"netns add " + n,
		"-n " + n + " link set lo up",
		"link add " + host + " type veth peer name uplink netns " + n,
		"addr add " + l.address(9) + "/30 dev " + host,
		"link set " + host + " up",
		"-n " + n + " addr add " + l.nodeAddress() + "/30 dev uplink",
		"-n " + n + " link set uplink up",
		"-n " + n + " link add servers type bridge",
		"-n " + n + " addr add " + l.address(1) + "/29 dev servers",
		"-n " + n + " link set servers up",
	}
	script = append(script, l.attachServer("pg", l.address(2))...)
	script = append(script, l.attachServer("ssh", l.address(4))...)
	script = append(script, l.attachServer("git", l.address(5))...)
	script = append(script, l.joinServers("ssh", l.address(4), "pg", l.address(2))...)
	script = append(script, l.joinServers("ssh", l.address(4), "git", l.address(5))...)
	if l.Kube {
		script = append(script, l.attachServer("kube", l.address(6))...)
		script = append(script, l.joinServers("ssh", l.address(4), "kube", l.address(6))...)
	}
	for _, line := range script {
		if _, err := command(append([]string{"ip"}, strings.Fields(line)...)...); err != nil {
			return err
		}
	}
	return nil
}

// attachServer gives a server a netns of its own on the node's bridge. Its
// default route leads back to the node, so that jobs can reach it directly
// wherever the agent does not redirect them.
func (l *lab) attachServer(name, address string) []string {
	ns := l.netnsOf(name)
	return []string{
		"netns add " + ns,
		"-n " + ns + " link set lo up",
		"-n " + l.Node + " link add " + name + " type veth peer name eth0 netns " + ns,
		"-n " + l.Node + " link set " + name + " master servers up",
		"-n " + ns + " addr add " + address + "/29 dev eth0",
		"-n " + ns + " link set eth0 up",
		"-n " + ns + " route add default via " + l.address(1),
	}
}

// joinServers gives two servers a link of their own, past the node: one leads
// jobs on to the other, as a host does that is in front of others.
func (l *lab) joinServers(a, addressA, b, addressB string) []string {
	nsA, nsB := l.netnsOf(a), l.netnsOf(b)
	return []string{
		"-n " + nsA + " link add " + b + " type veth peer name " + a + " netns " + nsB,
		"-n " + nsA + " link set " + b + " up",
		"-n " + nsB + " link set " + a + " up",
		"-n " + nsA + " route add " + addressB + "/32 dev " + b + " src " + addressA,
		"-n " + nsB + " route add " + addressA + "/32 dev " + a + " src " + addressB,
	}
}

// removeNetwork deletes the namespaces; the links inside them go with them.
func (l *lab) removeNetwork() error {
	if l.Node == "" {
		return nil
	}
	var errs []error
	for _, ns := range []string{l.netnsOf("pg"), l.netnsOf("ssh"), l.netnsOf("git"), l.netnsOf("kube"), l.Node} {
		if _, err := os.Stat("/run/netns/" + ns); err == nil {
			_, err = command("ip", "netns", "del", ns)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
