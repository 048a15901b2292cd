package config

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// token is what can stand between the dots of a bus subject.
var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// minSpool leaves room for several segments.
const minSpool = 64 << 20

// maxResponse bounds how much of one response is kept in memory and records.
const maxResponse = 16 << 20

// Validate reports what cannot work.
func (a *Agent) Validate(report Problems) {
	name(report, "name", a.Name)
	name(report, "cluster", a.Cluster)
	required(report, "policy", string(a.Policy), "the path of the policy file")
	required(report, "state_dir", string(a.StateDir), "a directory that only root can write")
	required(report, "signing_key_file", string(a.SigningKeyFile), "the path of the agent's signing key")
	if a.ConsoleURL != "" {
		address(report, "console_url", a.ConsoleURL, "http", "https")
	}
	if a.Spool.Limit < minSpool {
		report("spool.limit", "is too small: write at least 64MiB")
	}
	required(report, "bus.url", a.Bus.URL, "the NATS server, as in tls://collector.example:4222")
	if a.Bus.URL != "" {
		address(report, "bus.url", a.Bus.URL, "tls", "nats")
	}
	required(report, "bus.nkey_seed_file", string(a.Bus.NkeySeedFile), "the path of the seed of this agent's NATS user")
	if strings.Count(a.Collector.LogKey, "+") < 2 {
		report("collector.log_key", "is not a log key: write the line in log.pub, name+hash+key")
	}
	a.Redirect.validate(report)
	required(report, "proxy.user", a.Proxy.User, "a user that no other program runs as")
	if a.Proxy.User == "root" || a.Proxy.User == "0" {
		report("proxy.user", "must not be root: write a user that no other program runs as")
	}
	for i := range a.Identity.Issuers {
		a.Identity.Issuers[i].validate(report, fmt.Sprintf("identity.issuers[%d]", i))
	}
	for i := range a.Identity.Providers {
		a.Identity.Providers[i].validate(report, fmt.Sprintf("identity.providers[%d]", i))
	}
	if (a.Trust.CAFile == "") != (a.Trust.KeyFile == "") {
		report("trust", "has half of an authority: write ca_file and key_file, or neither")
	}
	a.Approvals.validate(report)
	if a.Audit.OnFull != "refuse" && a.Audit.OnFull != "forward" {
		report("audit.on_full", "%q is not what can become of it: write refuse or forward", a.Audit.OnFull)
	}
	if !slices.Contains([]string{"default", "strict", "remote"}, a.Audit.Durability) {
		report("audit.durability", "%q is not a durability: write default, strict or remote", a.Audit.Durability)
	}
	if a.Audit.ResponseLimit > maxResponse {
		report("audit.response_limit", "is too large: write at most 16MiB")
	}
}

// validate reports what cannot work in the kernel's part.
func (r *Redirect) validate(report Problems) {
	required(report, "redirect.pins", string(r.Pins), "a directory on bpffs")
	if r.Port < 1024 {
		report("redirect.port", "is reserved: write a port from 1024 to 32767")
	}
	for i, cgroup := range r.Exempt {
		if !path.IsAbs(cgroup) || path.Clean(cgroup) != cgroup || cgroup == "/" {
			report(fmt.Sprintf("redirect.exempt[%d]", i), "%q is not a cgroup: write a path below the root of cgroup v2, as in /system.slice/kubelet.service", cgroup)
		}
	}
	if r.OpenConnections != "drain" && r.OpenConnections != "destroy" {
		report("redirect.open_connections", "%q is not known: write drain or destroy", r.OpenConnections)
	}
}

// validate reports what cannot work in the approvals.
func (a *Approvals) validate(report Problems) {
	switch {
	case a.RosterFile == "" && a.RootKey == "":
	case a.RosterFile == "":
		report("approvals.roster_file", "is missing: the root key verifies nothing without a roster")
	case a.RootKey == "":
		report("approvals.root_key", "is missing: write the key that signed the roster, as in ssh-ed25519 AAAA…")
	case !isSSHKey(a.RootKey):
		report("approvals.root_key", "is not an Ed25519 public key: write one as in ssh-ed25519 AAAA…")
	}
}

// isSSHKey reports whether a line looks like an Ed25519 key of OpenSSH: the
// type twice, the second time before 32 bytes of key (RFC 8709 §4).
func isSSHKey(line string) bool {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "ssh-ed25519" {
		return false
	}
	const prefix = "\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	return err == nil && len(blob) == len(prefix)+32 && strings.HasPrefix(string(blob), prefix)
}

// required reports an empty value.
func required(report Problems, path, value, what string) {
	if value == "" {
		report(path, "is missing: write %s", what)
	}
}

// name reports what cannot be part of a subject.
func name(report Problems, path, value string) {
	required(report, path, value, "up to 64 letters, digits, - and _")
	if value != "" && !token.MatchString(value) {
		report(path, "%q is not a name: write up to 64 letters, digits, - and _", value)
	}
}

// address reports what is not a URL of one of the schemes with a host, or
// what carries a password.
func address(report Problems, path, value string, schemes ...string) {
	parsed, err := url.Parse(value)
	switch {
	case err != nil || parsed.Host == "" || !slices.Contains(schemes, parsed.Scheme):
		report(path, "is not a URL that begins with %s://", strings.Join(schemes, ":// or "))
	case parsed.User != nil:
		report(path, "holds a name or password: secrets belong in files")
	}
}
