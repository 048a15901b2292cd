package agent

import (
	"errors"

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Servers say how the server of each resource is checked, by the resource's
// name.
type Servers map[string]protocol.ServerTLS

// LoadServers reads the certificates that a policy names, and reports all that
// is wrong with them.
func LoadServers(rules *policy.Policy) (Servers, error) {
	servers := Servers{}
	var errs []error
	for _, resource := range rules.Resources() {
		server, err := serverTLS(resource)
		errs = append(errs, err)
		servers[resource.Name] = server
	}
	return servers, errors.Join(errs...)
}
