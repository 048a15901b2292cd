package agent

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/trust"
)

// clientTLS is what a job that asks for TLS is shown; nil where there is no
// authority.
func (a *Agent) clientTLS(resource *policy.Resource, asked netip.AddrPort) *tls.Config {
	if a.Trust == nil {
		return nil
	}
	return a.Trust.Config(hosts(*resource).Names, asked.Addr())
}

// sharedTLS is what a job is shown that may mean one of several resources: what
// is true of all that it can still mean, now that it has named a server or not.
// refused is called where it can mean none.
func (a *Agent) sharedTLS(among []string, asked netip.Addr, refused func()) *tls.Config {
	if a.Trust == nil {
		return nil
	}
	return a.Trust.ConfigBy(asked.Unmap(), func(serverName string) ([]string, bool) {
		under := a.Policy.Under(among, serverName)
		if len(under) == 0 {
			refused()
			return nil, false
		}
		return policy.CertificateNames(under, serverName), true
	})
}

// Bounds are what an authority for all resources of a policy has to speak for.
func Bounds(rules *policy.Policy) trust.Constraints {
	var all trust.Constraints
	for _, resource := range rules.Resources() {
		one := bounds(resource)
		all.Names = append(all.Names, one.Names...)
		all.Prefixes = append(all.Prefixes, one.Prefixes...)
	}
	return all
}

// bounds are what one resource's clients may be shown: where it is, and the
// names that it is selected by. A pattern's zone stands for all below it.
func bounds(resource policy.Resource) trust.Constraints {
	all := hosts(resource)
	for _, name := range resource.Select.ServerNames {
		all.Names = append(all.Names, strings.TrimPrefix(name, "*."))
	}
	return all
}

// Places are where those resources of a policy are that speak one protocol.
func Places(rules *policy.Policy, protocol string) (all []trust.Place) {
	for _, resource := range rules.Resources() {
		if resource.Protocol == protocol {
			all = append(all, trust.Place{Hosts: hosts(resource), Port: resource.Port})
		}
	}
	return all
}

// hosts are where one resource is.
func hosts(resource policy.Resource) trust.Constraints {
	var all trust.Constraints
	for _, host := range resource.Hosts {
		if host.Name != "" {
			all.Names = append(all.Names, host.Name)
			continue
		}
		all.Prefixes = append(all.Prefixes, host.Prefix)
	}
	return all
}

// serverTLS reads how the agent checks a resource's server.
func serverTLS(resource policy.Resource) (protocol.ServerTLS, error) {
	if resource.ServerTLS.Mode == policy.Off {
		return protocol.ServerTLS{Mode: protocol.TLSOff}, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName(resource)}
	if resource.ServerTLS.CAFile == "" {
		return protocol.ServerTLS{Config: cfg}, nil
	}
	pem, err := os.ReadFile(resource.ServerTLS.CAFile)
	if err != nil {
		return protocol.ServerTLS{}, fmt.Errorf("resource %s: server_tls.ca_file: %w", resource.Name, err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return protocol.ServerTLS{}, fmt.Errorf("resource %s: server_tls.ca_file: %s holds no certificate in PEM", resource.Name, resource.ServerTLS.CAFile)
	}
	return protocol.ServerTLS{Config: cfg}, nil
}

// serverName is what the server's certificate must be for: the resource's
// first host.
func serverName(resource policy.Resource) string {
	host := resource.Hosts[0]
	if host.Name != "" {
		return host.Name
	}
	return host.Prefix.Addr().String()
}
