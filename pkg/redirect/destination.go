package redirect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
)

// Destination is what nobody may reach except through the agent: a port on
// every address of a prefix.
type Destination struct {
	Prefix netip.Prefix
	Port   uint16
}

// mappedBits is how much longer an IPv4 prefix is in its ::ffff:0:0/96 form.
const mappedBits = 96

// portBits is the part of an endpoint's key that precedes its address.
const portBits = 32

func (d Destination) check() error {
	if !d.Prefix.IsValid() {
		return errors.New("not a prefix")
	}
	if d.Port == 0 {
		return fmt.Errorf("%s: a destination needs a port", d.Prefix)
	}
	return nil
}

func (d Destination) host() redirectHost {
	prefix := d.Prefix.Masked()
	bits := prefix.Bits()
	if prefix.Addr().Is4() {
		bits += mappedBits
	}
	key := redirectHost{PrefixBits: uint32(bits)}
	key.Address.Word = words(prefix.Addr())
	return key
}

func (d Destination) endpoint() redirectEndpoint {
	host := d.host()
	key := redirectEndpoint{PrefixBits: portBits + host.PrefixBits, Port: networkOrder(d.Port)}
	key.Address.Word = host.Address.Word
	return key
}

// Protect makes ds the protected destinations. What is in the old and the new
// set stays protected throughout; on an error the set is at least the old one.
func (r *Redirect) Protect(ds []Destination) error {
	r.protect.Lock()
	defer r.protect.Unlock()
	there, err := tunnels()
	if err != nil {
		return fmt.Errorf("protect: %w", err)
	}
	return r.protectAll(ds, there)
}

// protectAll makes destinations and ends of tunnels the protected ones. The caller
// holds protect.
func (r *Redirect) protectAll(ds, tunnels []Destination) error {
	endpoints := make(map[redirectEndpoint]bool)
	hosts := make(map[redirectHost]bool)
	for _, d := range slices.Concat(r.probes(), tunnels, ds) {
		if err := d.check(); err != nil {
			return fmt.Errorf("protect: %w", err)
		}
		endpoints[d.endpoint()] = true
		hosts[d.host()] = true
	}
	// Additions of all maps come before removals from any.
	if err := r.addPorts(endpoints); err != nil {
		return fmt.Errorf("protect: %w", err)
	}
	if err := errors.Join(addKeys(r.objects.Hosts, hosts), addKeys(r.objects.Destinations, endpoints)); err != nil {
		return fmt.Errorf("protect: %w", err)
	}
	if r.first && len(ds) > 0 {
		r.first = false
		r.settleOpen(ds)
	}
	if err := errors.Join(keepKeys(r.objects.Destinations, endpoints), keepKeys(r.objects.Hosts, hosts)); err != nil {
		return fmt.Errorf("protect: forget earlier destinations: %w", err)
	}
	if err := r.setPorts(portsOf(endpoints)); err != nil {
		return fmt.Errorf("protect: forget earlier ports: %w", err)
	}
	r.protected, r.tunnels = ds, tunnels
	return nil
}

// isFirst finds out whether anything was protected before, by another agent.
func (r *Redirect) isFirst() error {
	known := make(map[redirectEndpoint]bool)
	for _, d := range r.probes() {
		known[d.endpoint()] = true
	}
	r.first = true
	var key redirectEndpoint
	var value uint8
	entries := r.objects.Destinations.Iterate()
	for entries.Next(&key, &value) {
		r.first = r.first && known[key]
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("read destinations: %w", err)
	}
	return nil
}

// addPorts lets the programs look at the ports of wanted and of all that is
// protected already.
func (r *Redirect) addPorts(wanted map[redirectEndpoint]bool) error {
	ports := portsOf(wanted)
	var key redirectEndpoint
	var value uint8
	entries := r.objects.Destinations.Iterate()
	for entries.Next(&key, &value) {
		ports.add(key.Port)
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("read destinations: %w", err)
	}
	return r.setPorts(ports)
}

func (r *Redirect) setPorts(ports redirectPortSet) error {
	if err := r.objects.ProtectedPorts.Put(uint32(0), ports); err != nil {
		return fmt.Errorf("write ports: %w", err)
	}
	return nil
}

func portsOf(endpoints map[redirectEndpoint]bool) (ports redirectPortSet) {
	for key := range endpoints {
		ports.add(key.Port)
	}
	return ports
}

// add takes a port in network byte order.
func (s *redirectPortSet) add(port uint16) { s.Bits[port>>3] |= 1 << (port & 7) }

func addKeys[K comparable](m *ebpf.Map, keys map[K]bool) error {
	for key := range keys {
		if err := m.Put(key, uint8(1)); err != nil {
			return err
		}
	}
	return nil
}

// keepKeys deletes every key of m that is not wanted.
func keepKeys[K comparable](m *ebpf.Map, wanted map[K]bool) error {
	var stale []K
	var key K
	var value []byte
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		if !wanted[key] {
			stale = append(stale, key)
		}
	}
	if err := entries.Err(); err != nil {
		return err
	}
	for _, key := range stale {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}
