package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The lab's addresses are documentation addresses (RFC 5737), cut into slots
// so that labs side by side never protect each other's servers: programs at
// the cgroup root see the whole machine. netlab's tests take theirs elsewhere
// in the same ranges.
const (
	slots    = 16
	slotsDir = "/run/sluice-lab"
)

func (l *lab) server(n int) string { return fmt.Sprintf("198.51.100.%d", 16*l.Slot+n) }

// servers maps the names that jobs use to addresses.
func (l *lab) servers() map[string]string { return map[string]string{"pg.lab": l.server(2)} }

// bridge is the node's address on the network of the job containers. It needs
// no slot: it exists only inside the node's netns.
func (l *lab) bridge() string { return "203.0.113.1/25" }

func (l *lab) nodeAddress() string { return fmt.Sprintf("192.0.2.%d", 4*l.Slot+2) }

func (l *lab) hostAddress() string { return fmt.Sprintf("192.0.2.%d", 4*l.Slot+1) }

func (l *lab) netnsOf(server string) string { return l.Node + "-" + server }

// inNetns is argv run in a named network namespace. nsenter, unlike ip netns
// exec, leaves the mounts alone: Docker and the agent need the cgroup trees.
func (l *lab) inNetns(netns string, argv ...string) []string {
	return append([]string{"nsenter", "--net=/run/netns/" + netns, "--"}, argv...)
}

// takeSlot reserves addresses until removeNetwork. A slot whose node netns is
// gone was left by a lab that did not come down, for example by a reboot.
func (l *lab) takeSlot() error {
	if err := os.MkdirAll(slotsDir, 0o755); err != nil {
		return err
	}
	for slot := range slots {
		file := filepath.Join(slotsDir, strconv.Itoa(slot))
		node := fmt.Sprintf("slab%d", slot)
		if _, err := os.Stat("/run/netns/" + node); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(file)
		}
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteString(l.dir)
		l.Slot, l.Node = slot, node
		return errors.Join(err, f.Close())
	}
	return fmt.Errorf("all %d slots in %s are taken", slots, slotsDir)
}

// makeNetwork makes the runner node with a bridge to its servers and a link to
// this machine:
//
//	this machine ── 192.0.2.0/30 ── node ── 198.51.100.0/28 (bridge) ── pg
//	                                 └── 203.0.113.0/25 (Docker's) ── jobs
func (l *lab) makeNetwork() error {
	if err := l.takeSlot(); err != nil {
		return err
	}
	if err := l.save(); err != nil {
		return err
	}
	n, host := l.Node, l.Node+"-up"
	script := []string{
		"netns add " + n,
		"-n " + n + " link set lo up",
		"link add " + host + " type veth peer name up netns " + n,
		"addr add " + l.hostAddress() + "/30 dev " + host,
		"link set " + host + " up",
		"-n " + n + " addr add " + l.nodeAddress() + "/30 dev up",
		"-n " + n + " link set up up",
		"-n " + n + " link add servers type bridge",
		"-n " + n + " addr add " + l.server(1) + "/28 dev servers",
		"-n " + n + " link set servers up",
	}
	script = append(script, l.attachServer("pg", l.server(2))...)
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
		"-n " + ns + " addr add " + address + "/28 dev eth0",
		"-n " + ns + " link set eth0 up",
		"-n " + ns + " route add default via " + l.server(1),
	}
}

// removeNetwork deletes the namespaces; the links inside them go with them.
func (l *lab) removeNetwork() error {
	if l.Slot < 0 {
		return nil
	}
	var errs []error
	for _, ns := range []string{l.netnsOf("pg"), l.Node} {
		if _, err := os.Stat("/run/netns/" + ns); err == nil {
			_, err = command("ip", "netns", "del", ns)
			errs = append(errs, err)
		}
	}
	errs = append(errs, os.Remove(filepath.Join(slotsDir, strconv.Itoa(l.Slot))))
	return errors.Join(errs...)
}
