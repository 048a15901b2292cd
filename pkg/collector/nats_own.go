package collector

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/config"
)

// validateURL reports what cannot work with a server of one's own.
func (b *Bus) validateURL(report config.Problems) {
	for server := range strings.SplitSeq(b.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Host == "" || u.Scheme != "tls" && u.Scheme != "nats" || u.User != nil || strings.Trim(u.Path, "/") != "" {
			report("bus.url", "is not a list of servers: write tls://host:4222, with a comma between several")
			return
		}
		address, err := netip.ParseAddr(u.Hostname())
		loopback := u.Hostname() == "localhost" || err == nil && address.IsLoopback()
		if u.Scheme == "nats" && !loopback && !b.PlainText {
			report("bus.url", "sends records readable to %s: write tls://, or plain_text: true where the network is trusted", u.Host)
		}
	}
	if (b.NkeySeedFile == "") == (b.CredentialsFile == "") {
		report("bus.nkey_seed_file", "is missing, or beside a credentials_file: write one of the two")
	}
	if (b.CertFile == "") != (b.KeyFile == "") {
		report("bus.cert_file", "cert_file and key_file belong together: write both or neither")
	}
	if !slices.Contains([]int{1, 3, 5}, b.Replicas) {
		report("bus.replicas", "%d is not 1, 3 or 5", b.Replicas)
	}
}

// validateEmbedded reports keys that speak of a server of one's own where there
// is none.
func (b *Bus) validateEmbedded(report config.Problems) {
	b.listener().validate(report, "bus")
	if b.NkeySeedFile+b.CredentialsFile+b.CAFile != "" || b.Replicas != 1 {
		report("bus.url", "is missing: nkey_seed_file, credentials_file, ca_file and replicas are of a server of one's own")
	}
}

// security is how a server of one's own is spoken to.
func (b *Bus) security() (s bus.Security, err error) {
	s.Credentials = string(b.CredentialsFile)
	if b.NkeySeedFile != "" {
		seed, err := os.ReadFile(string(b.NkeySeedFile))
		if err != nil {
			return s, fmt.Errorf("read nkey seed: %w", err)
		}
		s.Seed = bytes.TrimSpace(seed)
	}
	if strings.Contains(b.URL, "tls://") || b.CAFile+b.CertFile != "" {
		s.TLS, err = clientTLS(tls.VersionTLS13, b.CAFile, b.CertFile, b.KeyFile)
	}
	return s, err
}

// reloadBus gives the agents that are enrolled now to the embedded server. One
// of somebody else's gets them from its operator.
func (c *Collector) reloadBus() error {
	if c.nats != nil {
		return c.nats.reload()
	}
	c.log.Warn("Enrolled agents changed: give NATS its users anew (sluice-collector nats-users)", zap.Int("agents", len(c.agents.all())))
	return nil
}

// NATSUsers returns the users that a server of one's own needs, as its
// configuration writes them: every enrolled agent, and the collector when it
// has an nkey.
func NATSUsers(cfg Config) (string, error) {
	agents, err := openRegistry(cfg.dir().agents(), zap.NewNop())
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString("users = [\n")
	if cfg.Bus.NkeySeedFile != "" {
		key, err := publicKey(string(cfg.Bus.NkeySeedFile))
		if err != nil {
			return "", err
		}
		allowed, err := bus.CollectorPermissions(cfg.Cluster)
		if err != nil {
			return "", err
		}
		writeUser(&out, "the collector", key, allowed)
	}
	all := agents.all()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		allowed, err := bus.AgentPermissions(cfg.Cluster, name)
		if err != nil {
			return "", err
		}
		writeUser(&out, name, all[name].User, allowed)
	}
	out.WriteString("]\n")
	return out.String(), nil
}

func publicKey(seedFile string) (string, error) {
	seed, err := os.ReadFile(seedFile)
	if err != nil {
		return "", fmt.Errorf("read nkey seed: %w", err)
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return "", errors.New("read nkey seed: not a seed")
	}
	return pair.PublicKey()
}

func writeUser(out *strings.Builder, name, key string, allowed bus.Permissions) {
	fmt.Fprintf(out, "  # %s\n  {nkey: %s, permissions: {\n", name, key)
	fmt.Fprintf(out, "    publish: {allow: [%s]}\n", quoted(allowed.Publish))
	fmt.Fprintf(out, "    subscribe: {allow: [%s]}\n", quoted(allowed.Subscribe))
	if allowed.Respond {
		out.WriteString("    allow_responses: true\n")
	}
	out.WriteString("  }}\n")
}

func quoted(subjects []string) string {
	list := make([]string, len(subjects))
	for i, s := range subjects {
		list[i] = `"` + s + `"`
	}
	return strings.Join(list, ", ")
}
