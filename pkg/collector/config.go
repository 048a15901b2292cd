package collector

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/record"
)

// Config is the collector's configuration file.
type Config struct {
	// Cluster names the fleet: up to 64 letters, digits, - and _. It is part of
	// every bus subject and of every batch note, and never changes. Default: main.
	Cluster string `yaml:"cluster"`
	// Origin is the name of the transparency log, like "audit.example.com/fleet".
	// It stands in every checkpoint and never changes. Default: sluice/CLUSTER.
	Origin string `yaml:"origin"`
	// DataDir holds everything that the collector keeps: database, bus, keys,
	// enrolled agents. One collector at a time may use it. Default:
	// /var/lib/sluice-collector.
	DataDir config.Path `yaml:"data_dir"`
	// API is where people and the command line connect. Default for its listen:
	// 127.0.0.1:8420.
	API Listener `yaml:"api"`
	// Bus is where agents connect. Default for its listen: 127.0.0.1:4222.
	Bus Bus `yaml:"bus"`
	// People says who may use the API. Without an issuer only the bootstrap
	// token is accepted.
	People People `yaml:"people"`
	// Console is what people open in a browser, where the API is served too.
	Console Console `yaml:"console"`
	// Approvals says whose votes count. Without a roster no vote is accepted.
	Approvals Approvals `yaml:"approvals"`
	// Retention destroys bodies after a time. Empty: they are kept for ever.
	Retention []Retention `yaml:"retention"`
	// Notify says who is told about approvals, outside of the console.
	Notify Notify `yaml:"notify"`
	// Forward says which other systems get the records.
	Forward Forward `yaml:"forward"`
	// Witnesses co-sign the log's checkpoints.
	Witnesses []Witness `yaml:"witnesses"`
	// LogLevel is debug, info, warn or error. Default: info.
	LogLevel string `yaml:"log_level"`
}

// Listener is a TCP address and how connections to it are secured.
type Listener struct {
	// Listen is an IP address and port; port 0 asks for any.
	Listen config.Address `yaml:"listen"`
	// CertFile and KeyFile are PEM files for TLS.
	CertFile config.Path `yaml:"cert_file"`
	KeyFile  config.Path `yaml:"key_file"`
	// PlainText allows an address other than loopback without TLS, where the
	// network itself is trusted: statements and tokens travel readable.
	PlainText bool `yaml:"plain_text"`
}

// Bus is the NATS server: the embedded one, or one of the operator's.
type Bus struct {
	// Listen is an IP address and port; port 0 asks for any. Of no meaning with a
	// url.
	Listen config.Address `yaml:"listen"`
	// CertFile and KeyFile are PEM files for TLS; with a url they are what the
	// collector shows that server.
	CertFile config.Path `yaml:"cert_file"`
	KeyFile  config.Path `yaml:"key_file"`
	// PlainText allows an address other than loopback without TLS, as for api.
	PlainText bool `yaml:"plain_text"`
	// StreamLimit bounds the batches that the bus buffers. Agents keep what
	// does not fit. At least 16MiB. Default: 1GiB.
	StreamLimit config.Size `yaml:"stream_limit"`
	// URL is a server or cluster of one's own instead of the embedded one,
	// tls://a:4222,tls://b:4222. It needs JetStream with sync_interval: always,
	// a max_payload of at least 512KiB, and the users that sluice-collector
	// nats-users prints. It may be away when the collector starts.
	URL string `yaml:"url"`
	// NkeySeedFile holds the seed of the collector's user there.
	NkeySeedFile config.Path `yaml:"nkey_seed_file"`
	// CredentialsFile holds a JWT and a seed instead, as nsc writes them.
	CredentialsFile config.Path `yaml:"credentials_file"`
	// CAFile holds the authorities for that server's certificate. Default: the
	// system's.
	CAFile config.Path `yaml:"ca_file"`
	// Replicas is in how many servers of a cluster each message is: 1, 3 or 5.
	// Default: 1.
	Replicas int `yaml:"replicas"`
}

func (b *Bus) listener() *Listener {
	return &Listener{Listen: b.Listen, CertFile: b.CertFile, KeyFile: b.KeyFile, PlainText: b.PlainText}
}

// People says how people prove who they are.
type People struct {
	// Issuer is the OIDC issuer's URL, Audience what its tokens must be for.
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	// CAFile holds the authorities for the issuer's certificate. Default: the
	// system's.
	CAFile config.Path `yaml:"ca_file"`
	// GroupsClaim names the claim that lists a person's groups. Default: groups.
	GroupsClaim string `yaml:"groups_claim"`
	// ClientSecretFile holds the collector's secret at the issuer, when it is a
	// confidential client there. Empty: a public one, with PKCE. The client's id
	// is the audience; its redirect addresses are <console url>/login/callback
	// and, for sluice login, http://127.0.0.1/callback on any port.
	ClientSecretFile config.Path `yaml:"client_secret_file"`
	// Scopes are asked for at login besides openid, profile and email, when the
	// issuer gives groups only for one: groups.
	Scopes []string `yaml:"scopes"`
	// Roles gives roles to groups. A person has the roles of all their groups.
	Roles []GroupRoles `yaml:"roles"`
}

// Console is what people open in a browser.
type Console struct {
	// URL is its address as browsers know it, https://sluice.example.com. Empty:
	// that of api.
	URL string `yaml:"url"`
}

// GroupRoles gives roles to the members of a group.
type GroupRoles struct {
	Group string     `yaml:"group"`
	Roles []api.Role `yaml:"roles"` // viewer, responder, approver, admin
	// Resources and Repositories limit the roles to what is both of one of the
	// resources and done for one of the repositories; acme/* stands for all of
	// acme. A repository is what a workload's verified token names, so that
	// sessions without one are seen only where repositories is empty. Empty: all.
	Resources    []string `yaml:"resources"`
	Repositories []string `yaml:"repositories"`
}

// Approvals says whose votes count.
type Approvals struct {
	// RosterFile is the signed list of approvers; it is read again when it
	// changes.
	RosterFile config.Path `yaml:"roster_file"`
	// RootKey is the public key, "ssh-ed25519 AAAA…", that signs rosters. Agents
	// pin the same key.
	RootKey string `yaml:"root_key"`
}

// origin is the log's name.
func (c *Config) origin() string {
	if c.Origin == "" {
		return "sluice/" + c.Cluster
	}
	return c.Origin
}

func (c *Config) dir() dir { return dir(c.DataDir) }

// Defaults sets what holds where the file says nothing.
func (c *Config) Defaults() {
	c.Cluster = "main"
	c.DataDir = "/var/lib/sluice-collector"
	c.API.Listen = loopback(8420)
	c.Bus.Listen = loopback(4222)
	c.Bus.StreamLimit = 1 << 30
	c.Bus.Replicas = 1
	c.People.GroupsClaim = "groups"
	c.LogLevel = "info"
}

func loopback(port uint16) config.Address {
	return config.Address{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
}

// minStream is the least that the stream of batches may hold.
const minStream = 16 << 20

// Validate reports what cannot work.
func (c *Config) Validate(report config.Problems) {
	if !record.ValidName(c.Cluster) {
		report("cluster", "%q is not a name: write up to 64 letters, digits, - and _", c.Cluster)
	}
	if strings.ContainsAny(c.Origin, " +\n\t") {
		report("origin", "%q is not a log's name: write one without spaces and plus signs", c.Origin)
	}
	if c.DataDir == "" {
		report("data_dir", "is missing: write a directory that only the collector can read")
	}
	c.API.validate(report, "api")
	if c.Bus.URL == "" {
		c.Bus.validateEmbedded(report)
	} else {
		c.Bus.validateURL(report)
	}
	if c.Bus.StreamLimit < minStream {
		report("bus.stream_limit", "is too small: write at least 16MiB")
	}
	c.People.validate(report)
	c.validateRetention(report)
	c.Notify.validate(report)
	c.Forward.validate(report)
	c.validateWitnesses(report)
	if u, err := url.Parse(c.Console.URL); c.Console.URL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "") {
		report("console.url", "is not the address of a site: write one like https://sluice.example.com")
	}
	if (c.Approvals.RosterFile == "") != (c.Approvals.RootKey == "") {
		report("approvals", "roster_file and root_key belong together: write both or neither")
	}
	if _, err := approval.ParsePublicKey(c.Approvals.RootKey); c.Approvals.RootKey != "" && err != nil {
		report("approvals.root_key", "is not an Ed25519 public key: write one as in ssh-ed25519 AAAA…")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		report("log_level", "%q is not a level: write debug, info, warn or error", c.LogLevel)
	}
}

func (l *Listener) validate(report config.Problems, path string) {
	if (l.CertFile == "") != (l.KeyFile == "") {
		report(path+".cert_file", "cert_file and key_file belong together: write both or neither")
	}
	if !l.Listen.IsValid() {
		report(path+".listen", "is missing: write IP and port, as in 127.0.0.1:8420")
		return
	}
	if !l.Listen.Addr().IsLoopback() && l.CertFile == "" && !l.PlainText {
		report(path+".listen", "%s is not loopback: write cert_file and key_file, or plain_text: true where the network is trusted", l.Listen)
	}
}

func (p *People) validate(report config.Problems) {
	if p.Issuer == "" && p.Audience == "" {
		if len(p.Roles) > 0 {
			report("people.roles", "need an issuer: write one, or leave the roles out")
		}
		return
	}
	if u, err := url.Parse(p.Issuer); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		report("people.issuer", "is not a URL that begins with https://, or http:// for loopback")
	}
	if p.Audience == "" {
		report("people.audience", "is missing: write what the tokens are minted for")
	}
	for i, entry := range p.Roles {
		path := fmt.Sprintf("people.roles[%d]", i)
		if entry.Group == "" {
			report(path+".group", "is missing: write the name of a group")
		}
		if len(entry.Roles) == 0 {
			report(path+".roles", "is empty: write at least one of viewer, responder, approver, admin")
		}
		for j, role := range entry.Roles {
			if !role.Valid() {
				report(fmt.Sprintf("%s.roles[%d]", path, j), "%q is not a role: write viewer, responder, approver or admin", role)
			}
		}
	}
}
