package agent

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/trust"
)

// hostKeys are what an SSH client is shown; nil where there is no authority.
func (a *Agent) hostKeys(resource *policy.Resource, asked netip.AddrPort) func() ([]trust.HostKey, error) {
	if a.HostTrust == nil {
		return nil
	}
	return func() ([]trust.HostKey, error) { return a.HostTrust.HostKeys(hosts(*resource).Names, asked.Addr()) }
}

// protected reports whether a name or an address, with a port, is a resource's.
// A name that only others would resolve to a resource's address is not known.
func (a *Agent) protected(host string, port uint16) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		_, found := a.Broker.Table().Lookup(netip.AddrPortFrom(addr.Unmap().WithZone(""), port))
		return found
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(a.Policy.Resources(), func(r policy.Resource) bool {
		return r.Port == port && slices.Contains(hosts(r).Names, name)
	})
}
