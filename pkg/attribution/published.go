package attribution

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// Containers are where the engines' containers are at one moment.
type Containers struct {
	// Owners are the ids of the containers, by the addresses that they have.
	Owners map[netip.Addr]string
	// Published is every address and port of the node's that leads to one of a
	// container's, once for each address that the container has: those of its
	// own family first.
	Published []Published
}

// Published is where the node offers a port of a container. Loopback is not
// among the node's addresses: in each network namespace it is somebody else's.
type Published struct {
	Node, Container netip.AddrPort
}

// Containers asks the engines. Without one, there are none. With an error it returns
// where containers are of those who answer, and were of those who do not.
func (r *Registry) Containers(ctx context.Context) (Containers, error) {
	if len(r.engines) == 0 {
		return Containers{}, nil
	}
	node, err := r.sources.Addresses(ctx)
	if err != nil {
		return Containers{}, fmt.Errorf("list containers: %w", err)
	}
	found, failed := Containers{Owners: make(map[netip.Addr]string)}, error(nil)
	for of := range r.engines {
		all, err := r.list(ctx, of)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("list %s's containers: %w", of, err))
		}
		for _, c := range all {
			found.add(c, node)
		}
	}
	return found, failed
}

// list asks one engine. When it fails, it returns what that said before.
func (r *Registry) list(ctx context.Context, of Engine) ([]listed, error) {
	answer, err := r.sources.Containers(ctx, of)
	if err != nil {
		return r.before(of), err
	}
	all, err := parseList(answer)
	if err != nil {
		return r.before(of), err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listed[of] = all
	return all, nil
}

func (r *Registry) before(of Engine) []listed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listed[of]
}

// listed is what we read of one entry of an engine's answer to
// GET /containers/json (Docker Engine API v1.24 to v1.51).
type listed struct {
	ID              string `json:"Id"`
	Ports           []port
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress, GlobalIPv6Address string }
	}
}

// port is one of a container's. It is published where PublicPort is not 0.
type port struct {
	IP                      string
	PrivatePort, PublicPort uint16
	Type                    string
}

// parseList decodes a list and, behind Podman's, the one in its own words.
func parseList(answer []byte) ([]listed, error) {
	documents := json.NewDecoder(bytes.NewReader(answer))
	var all []listed
	if err := documents.Decode(&all); err != nil || all == nil {
		return nil, errors.New("the engine's answer is not what it should be")
	}
	var own []podmans
	if err := documents.Decode(&own); errors.Is(err, io.EOF) {
		return all, nil
	} else if err != nil {
		return nil, errors.New("the engine's second answer is not what it should be")
	}
	ports := make(map[string][]port)
	for _, c := range own {
		ports[c.ID] = c.ports()
	}
	for i := range all {
		all[i].Ports = ports[all[i].ID]
	}
	return all, nil
}

func (c *Containers) add(l listed, node []netip.Addr) {
	own := l.addresses()
	for _, addr := range own {
		// Two networks with one range are possible. Whoever it is, it must be the
		// same one each time.
		if c.Owners[addr] < l.ID {
			c.Owners[addr] = l.ID
		}
	}
	for _, port := range l.Ports {
		at, err := netip.ParseAddr(port.IP)
		if err != nil || port.PublicPort == 0 || port.Type != "tcp" {
			continue // it is not published
		}
		for _, addr := range offeredAt(at, node) {
			for _, to := range nearest(own, addr) {
				c.Published = append(c.Published, Published{
					Node: netip.AddrPortFrom(addr, port.PublicPort), Container: netip.AddrPortFrom(to, port.PrivatePort),
				})
			}
		}
	}
}

// addresses returns all addresses of a container, in order.
func (l listed) addresses() []netip.Addr {
	var all []netip.Addr
	for _, network := range l.NetworkSettings.Networks {
		for _, text := range []string{network.IPAddress, network.GlobalIPv6Address} {
			if addr, err := netip.ParseAddr(text); err == nil {
				all = append(all, addr.Unmap())
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// offeredAt returns the addresses that an address to listen at stands for.
func offeredAt(at netip.Addr, node []netip.Addr) []netip.Addr {
	if !at.IsUnspecified() {
		node = []netip.Addr{at}
	}
	var all []netip.Addr
	for _, addr := range node {
		if addr = addr.Unmap().WithZone(""); !addr.IsLoopback() && addr.Is4() == at.Unmap().Is4() {
			all = append(all, addr)
		}
	}
	return all
}

// nearest returns addresses with those of one's own family first: the Engine
// sends a connection to a container of the other one where there is no other.
func nearest(all []netip.Addr, one netip.Addr) []netip.Addr {
	return slices.SortedStableFunc(slices.Values(all), func(a, b netip.Addr) int {
		return cmp.Compare(otherFamily(a, one), otherFamily(b, one))
	})
}

func otherFamily(a, b netip.Addr) int {
	if a.Is4() == b.Is4() {
		return 0
	}
	return 1
}
