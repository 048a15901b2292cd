package attribution

import "strings"

// podmans is what we read of one entry of Podman's answer to
// GET /v4.0.0/libpod/containers/json.
type podmans struct {
	ID    string `json:"Id"`
	Ports []struct {
		HostIP        string `json:"host_ip"`
		ContainerPort uint16 `json:"container_port"`
		HostPort      uint16 `json:"host_port"`
		Range         uint16 `json:"range"`    // how many ports follow each other
		Protocol      string `json:"protocol"` // several are separated by commas
	}
}

// ports returns them in Docker's words. Published at no address in particular is at
// every one, of both families.
func (p podmans) ports() (all []port) {
	for _, r := range p.Ports {
		if !strings.Contains(r.Protocol, "tcp") {
			continue
		}
		at := []string{r.HostIP}
		if r.HostIP == "" {
			at = []string{"0.0.0.0", "::"}
		}
		for i := range max(r.Range, 1) {
			for _, ip := range at {
				all = append(all, port{IP: ip, PrivatePort: r.ContainerPort + i, PublicPort: r.HostPort + i, Type: "tcp"})
			}
		}
	}
	return all
}
