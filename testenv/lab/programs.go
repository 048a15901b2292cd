package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	apiPort    = 8420
	agentName  = "node1"
	pinsParent = "/sys/fs/bpf"
	proxyUser  = 64532 // of the agent's proxy: nobody else's on this machine
	localHosts = "127.0.0.1 localhost\n::1 localhost\n"
)

// consoleURL is where the collector's API is, from this machine as from the
// node.
func (l *lab) consoleURL() string { return fmt.Sprintf("http://%s:%d", l.nodeAddress(), apiPort) }

func (l *lab) program(name string) string { return l.path("bin", name) }

// write makes a file below the state directory, and the directories above it.
func (l *lab) write(text string, parts ...string) error {
	file := l.path(parts...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// startCollector initialises a collector, enrols the agent at it and runs it.
func (l *lab) startCollector() error {
	root, err := l.publicKey("root")
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`data_dir: data
api: {listen: "%s:%d", plain_text: true}
bus: {listen: "127.0.0.1:4222"}
people:
  issuer: %s
  audience: %s
  ca_file: %s
  roles:
    - {group: dba, roles: [viewer, responder, approver, admin]}
    - {group: viewers, roles: [viewer]}
approvals:
  roster_file: %s
  root_key: %q
`, l.nodeAddress(), apiPort, l.issuerURL(), audience, l.caFile(), l.path("roster.json"), strings.TrimSpace(root))
	if err := l.write(config, "collector", "collector.yaml"); err != nil {
		return err
	}
	file := l.path("collector", "collector.yaml")
	if _, err := command(l.program("sluice-collector"), "init", "--config", file); err != nil {
		return err
	}
	if _, err := command(l.program("sluice-collector"), "enrol", "--config", file, "--name", agentName, "--out", l.path("agent", "keys")); err != nil {
		return err
	}
	if err := l.signRoster(); err != nil {
		return err
	}
	settings := fmt.Sprintf("collector: %s\nplain_text: true\ntoken_file: token\ntrust: %s\nkey: %s\napprover: %s\n",
		l.consoleURL(), l.path("collector", "data", "trust.json"), approverName, approverName)
	if err := l.write(settings, "ctl", "config.yaml"); err != nil {
		return err
	}
	return l.runCollector()
}

func (l *lab) runCollector() error {
	logFile := l.path("collector.log")
	p, err := spawn(logFile, nil, l.inNetns(l.Node, l.program("sluice-collector"), "run", "--config", l.path("collector", "collector.yaml"))...)
	if err != nil {
		return err
	}
	if err := l.started("collector", p); err != nil {
		return err
	}
	ready := func() bool { _, err := l.sluice("agents"); return err == nil }
	if err := waitFor(30*time.Second, func() bool { return !p.alive() || ready() }); err != nil || !p.alive() {
		_, why := l.sluice("agents")
		return fmt.Errorf("it does not answer: %w\n%s", why, tail(logFile))
	}
	return nil
}

// startAgent writes the agent's configuration and policy and runs it.
func (l *lab) startAgent() error {
	policy, err := composePolicy(l.Policy, l.resources())
	if err != nil {
		return err
	}
	root, err := l.publicKey("root")
	if err != nil {
		return err
	}
	logKey, err := os.ReadFile(l.path("agent", "keys", "log.pub"))
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`name: %s
policy: policy.yaml
state_dir: state
signing_key_file: keys/signing.key
console_url: %s
spool: {limit: 512MiB}
metrics: {listen: "%s:9402"}
bus: {url: "nats://127.0.0.1:4222", nkey_seed_file: keys/nkey.seed}
collector: {log_key: %q}
redirect: {pins: %s, port: %d, exempt: [/%s]}
proxy: {user: "%d"}
attribution: {docker_socket: %s}
identity:
  issuers:
    - issuer: %s
      ca_file: %s
      audience: %s
      token_file: %s
      bind: [{claim: sluice/container_id, to: container_id}]
%strust: {ca_file: trust/ca.pem, key_file: trust/ca.key, ssh_key_file: trust/ssh.key}
approvals:
  roster_file: %s
  root_key: %q
`, agentName, l.consoleURL(), l.nodeAddress(), strings.TrimSpace(string(logKey)), l.pins(), l.Port, filepath.Base(l.Hosts), proxyUser, l.dockerSocket(),
		l.issuerURL(), l.caFile(), audience, l.path("tokens", "{container_id}", "token"), l.providers(),
		l.path("roster.json"), strings.TrimSpace(root))
	if err := l.write(config, "agent", "agent.yaml"); err != nil {
		return err
	}
	if err := l.write(string(policy), "agent", "policy.yaml"); err != nil {
		return err
	}
	if err := os.MkdirAll(l.path("agent", "trust"), 0o700); err != nil {
		return err
	}
	if _, err := command(l.program("sluice-agent"), "authority", "--config", l.path("agent", "agent.yaml")); err != nil {
		return err
	}
	if err := l.write(l.hostsFile(), "agent", "hosts"); err != nil {
		return err
	}
	if err := os.Chmod(l.path("agent", "hosts"), 0o644); err != nil { // it becomes the proxy's /etc/hosts
		return err
	}
	return l.runAgent()
}

// hostsFile has the servers' names (hosts(5)).
func (l *lab) hostsFile() string {
	hosts := localHosts
	for name, address := range l.servers() {
		hosts += address + " " + name + "\n"
	}
	return hosts
}

// pins is where the agent keeps its programs while it is dead.
func (l *lab) pins() string { return filepath.Join(pinsParent, l.Node) }

// runAgent runs the agent on the node. It sees the lab's names through an
// /etc/hosts of its own, in a mount namespace of its own; bpffs is therefore
// mounted here before it, because a mount inside would end with the agent and
// take the pinned programs along. What is mounted later, as a kubelet does with
// tokens, it sees.
func (l *lab) runAgent() error {
	if err := l.mountBPFFS(); err != nil {
		return err
	}
	logFile := l.path("agent.log")
	script := `mount --bind "$0" /etc/hosts && exec "$@"`
	p, err := spawn(logFile, nil, l.inNetns(l.Node, "unshare", "--mount", "--propagation", "slave", "sh", "-c", script,
		l.path("agent", "hosts"), l.program("sluice-agent"), "run", "--config", l.path("agent", "agent.yaml"))...)
	if err != nil {
		return err
	}
	if err := l.started("agent", p); err != nil {
		return err
	}
	ready := func() bool { return strings.Contains(tail(logFile), fmt.Sprintf(`"pid":%d`, p.PID)) }
	if err := waitFor(60*time.Second, func() bool { return !p.alive() || ready() }); err != nil || !p.alive() {
		return fmt.Errorf("it does not start: %s", tail(logFile))
	}
	return nil
}

// mountBPFFS mounts bpffs where it is missing, and remembers that.
func (l *lab) mountBPFFS() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(pinsParent, &fs); err != nil {
		return err
	}
	const bpffsMagic = 0xcafe4a11 // linux/magic.h
	if fs.Type == bpffsMagic {
		return nil
	}
	if _, err := command("mount", "-t", "bpf", "bpf", pinsParent); err != nil {
		return err
	}
	l.Mounted = true
	return l.save()
}

// unmountBPFFS undoes mountBPFFS, unless somebody has pinned something since:
// it would be lost. Every bpffs holds two files of the kernel's.
func (l *lab) unmountBPFFS() error {
	if !l.Mounted {
		return nil
	}
	pins, err := os.ReadDir(pinsParent)
	if err != nil {
		return err
	}
	for _, pin := range pins {
		if !strings.HasSuffix(pin.Name(), ".debug") {
			return nil
		}
	}
	_, err = command("umount", pinsParent)
	return err
}

// uninstallAgent detaches the agent's programs.
func (l *lab) uninstallAgent() error {
	file := l.path("agent", "agent.yaml")
	if _, err := os.Stat(file); err != nil {
		return nil // it never came to be
	}
	if err := l.Processes["agent"].end(syscall.SIGTERM, 15*time.Second); err != nil {
		return err
	}
	_, err := command(l.program("sluice-agent"), "uninstall", "--config", file)
	return err
}

// sluice runs the command line as the lab's approver and returns its output.
func (l *lab) sluice(args ...string) (string, error) {
	return command(append([]string{l.program("sluice"), "--config", l.path("ctl", "config.yaml")}, args...)...)
}

// ctl runs the command line as the lab's approver, attached to this terminal.
func (l *lab) ctl(args []string) error {
	return attached(nil, append([]string{l.program("sluice"), "--config", l.path("ctl", "config.yaml")}, args...)...)
}
