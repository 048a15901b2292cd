package agent

import (
	"net/netip"

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
