package policy

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/mask"
)

// Resource is a protected thing: where it is and how the agent reaches it.
type Resource struct {
	Name      string
	Protocol  string
	Hosts     []Host
	Port      uint16
	Select    Select
	ServerTLS ServerTLS
	ServerSSH ServerSSH
	Observe   bool // change nothing, refuse nothing, and say what would have been
}

// Host is one place where a resource is: either a name, which the agent
// resolves, or a block of addresses.
type Host struct {
	Name   string       // lower case, without a final dot; empty when Prefix is set
	Prefix netip.Prefix // masked; a single address has all bits; zero when Name is set
}

// String returns the host as a policy writes it.
func (h Host) String() string {
	switch {
	case h.Name != "":
		return h.Name
	case h.Prefix.IsSingleIP():
		return h.Prefix.Addr().String()
	default:
		return h.Prefix.String()
	}
}

// TLSMode is how the agent secures its leg to the server. The zero value
// verifies.
type TLSMode int

// The modes of the server leg.
const (
	VerifyFull TLSMode = iota // TLS, with certificate and name verified
	Off                       // plain text, because the policy says so
)

// ServerTLS is how the agent checks the server.
type ServerTLS struct {
	Mode   TLSMode
	CAFile string // PEM; empty means the system's roots
}

// ServerSSH is how the agent knows an SSH server.
type ServerSSH struct {
	KnownHostsFile string // as of OpenSSH, sshd(8); empty where the protocol has no use for it
}

// resource is a Resource with all that applies to it.
type resource struct {
	Resource
	credentials []credential
	masks       mask.Set
	rules       [Allow + 1][]*rule // by effect, each in the order of the file
	limits      []*rule            // those that deny over a number of rows, in no effect of their own

	reads         detail // all that its rules read
	readsReadOnly bool   // a rule reads op.read_only
	readsParsed   bool   // a rule reads op.parsed
}

// protocolName is how a protocol may be written. Which protocols there are is
// known to the agent alone.
var protocolName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// hostName is a DNS name of letters, digits and hyphens (RFC 1123 §2.1), with
// underscores, which private zones use.
var hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

// numeric matches what looks like an address: its last label is a number.
var numeric = regexp.MustCompile(`(^|\.)[0-9]+$`)

// resource compiles one resource without its rules and masks.
func (c *compiler) resource(path string, clause *resourceClause) *resource {
	r := &resource{Resource: Resource{Name: clause.Name, Protocol: clause.Protocol, Port: clause.Port}}
	if !protocolName.MatchString(clause.Protocol) {
		c.doc.Problem(path+".protocol", "%q is not a protocol: write one as in postgres", clause.Protocol)
	}
	if clause.Port == 0 {
		c.doc.Problem(path+".port", "is missing: write the server's port")
	}
	if len(clause.Hosts) == 0 {
		c.doc.Problem(path+".hosts", "is missing: list names, addresses or blocks of addresses")
	}
	for i, text := range clause.Hosts {
		host, err := parseHost(text)
		if err != nil {
			c.doc.Problem(fmt.Sprintf("%s.hosts[%d]", path, i), "%v", err)
			continue
		}
		r.Hosts = append(r.Hosts, host)
	}
	switch clause.Mode {
	case "", "enforce":
	case "observe":
		r.Observe = true
	default:
		c.doc.Problem(path+".mode", "%q is not a mode: write enforce or observe", clause.Mode)
	}
	r.Select = c.choice(path+".select", clause.Select, r.Observe)
	r.ServerTLS = c.serverTLS(path+".server_tls", clause.ServerTLS)
	if clause.ServerSSH != nil {
		r.ServerSSH.KnownHostsFile = c.relative(clause.ServerSSH.KnownHostsFile)
		if clause.ServerSSH.KnownHostsFile == "" {
			c.doc.Problem(path+".server_ssh.known_hosts_file", "is missing: write the path of a file with the server's keys")
		}
	}
	if r.Observe {
		c.onlyObserved(path, clause)
	} else {
		r.credentials = c.credentials(path+".credentials", clause.Credentials)
	}
	return r
}

// onlyObserved refuses what would be the agent's part: where it only observes,
// the job logs in, and checks the server, by itself.
func (c *compiler) onlyObserved(path string, clause *resourceClause) {
	if len(clause.Credentials) > 0 {
		c.doc.Problem(path+".credentials", "has no use in mode observe: the job logs in by itself")
	}
	if clause.ServerTLS != nil {
		c.doc.Problem(path+".server_tls", "has no use in mode observe: the job checks the server by itself")
	}
	if clause.ServerSSH != nil {
		c.doc.Problem(path+".server_ssh", "has no use in mode observe: the job checks the server by itself")
	}
}

// serverTLS compiles how the server is checked; nothing written means
// verify-full with the system's roots.
func (c *compiler) serverTLS(path string, clause *serverTLSClause) ServerTLS {
	if clause == nil {
		return ServerTLS{}
	}
	t := ServerTLS{CAFile: c.relative(clause.CAFile)}
	switch clause.Mode {
	case "verify-full":
	case "off":
		t.Mode = Off
		if clause.CAFile != "" {
			c.doc.Problem(path+".ca_file", "has no use in mode off: remove it, or write mode: verify-full")
		}
	case "":
		c.doc.Problem(path+".mode", "is missing: write verify-full or off")
	default:
		c.doc.Problem(path+".mode", "%q is not a mode: write verify-full or off", clause.Mode)
	}
	return t
}

// overlap refuses a destination that two resources claim, unless each session
// there is selected by one at most: it would depend on the order of the file
// which rules protect it.
func (c *compiler) overlap(path string, r *resource, earlier []*resource) {
	for _, other := range earlier {
		if other.Port != r.Port || r.Port == 0 {
			continue
		}
		for _, host := range r.Hosts {
			meets := func(h Host) bool {
				return h.Name == host.Name && (h.Name != "" || h.Prefix.Overlaps(host.Prefix))
			}
			why := together(&r.Resource, &other.Resource)
			if why != "" && slices.ContainsFunc(other.Hosts, meets) {
				c.doc.Problem(path+".hosts", "%s on port %d is also in resource %q: %s", host, r.Port, other.Name, why)
			}
		}
	}
}

// relative resolves a path in the file against the file's directory.
func (c *compiler) relative(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.name), path)
}

// parseHost reads a name, an address or a block.
func parseHost(text string) (Host, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		if prefix != prefix.Masked() {
			return Host{}, fmt.Errorf("%q has bits beyond its length: write %s", text, prefix.Masked())
		}
		return unmapped(prefix, text)
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" {
			return Host{}, fmt.Errorf("%q has a zone: write an address that means the same in every container", text)
		}
		return unmapped(netip.PrefixFrom(addr, addr.BitLen()), text)
	}
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if len(name) > maxName || !hostName.MatchString(name) || numeric.MatchString(name) {
		return Host{}, fmt.Errorf("%q is not a host: write a name, an address as in 192.0.2.7, or a block as in 192.0.2.0/24", text)
	}
	return Host{Name: name}, nil
}

// unmapped refuses IPv4 addresses in IPv6 clothes, which would match nothing.
func unmapped(prefix netip.Prefix, text string) (Host, error) {
	if prefix.Addr().Is4In6() {
		return Host{}, fmt.Errorf("%q is an IPv4 address written as IPv6: write it as IPv4", text)
	}
	return Host{Prefix: prefix}, nil
}
