package agent

import (
	"errors"
	"fmt"
	"os"

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Server is how the server of one resource is checked.
type Server struct {
	TLS        protocol.ServerTLS
	KnownHosts []byte // see protocol.Conn
}

// Servers say how the server of each resource is checked, by the resource's
// name.
type Servers map[string]Server

// LoadServers reads the certificates and keys that a policy names, and reports
// all that is wrong with them.
func LoadServers(rules *policy.Policy) (Servers, error) {
	servers := Servers{}
	var errs []error
	for _, resource := range rules.Resources() {
		server, err := loadServer(resource)
		errs = append(errs, err)
		servers[resource.Name] = server
	}
	return servers, errors.Join(errs...)
}

func loadServer(resource policy.Resource) (server Server, err error) {
	if server.TLS, err = serverTLS(resource); err != nil {
		return Server{}, err
	}
	if resource.ServerSSH.KnownHostsFile == "" {
		return server, nil
	}
	if server.KnownHosts, err = os.ReadFile(resource.ServerSSH.KnownHostsFile); err != nil {
		return Server{}, fmt.Errorf("resource %s: server_ssh.known_hosts_file: %w", resource.Name, err)
	}
	return server, nil
}
