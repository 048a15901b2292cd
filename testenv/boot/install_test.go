//go:build boot

package boot

import (
	"fmt"
	"os"
	"strings"
)

const (
	collectorConfig = `api: {listen: "127.0.0.1:8420"}
`
	agentConfig = `name: node1
policy: policy.yaml
signing_key_file: keys/signing.key
bus: {url: "nats://127.0.0.1:4222", nkey_seed_file: keys/nkey.seed}
collector: {log_key: "$(cat node1/log.pub)"}
attribution: {docker_socket: /run/docker.sock}
`
	policy = `version: 1
resources:
  - name: shop-db
    protocol: postgres
    hosts: [database.example]
    port: 5432
    credentials:
      - {user: app, password_file: secrets/shop-db}
    server_tls: {mode: "off"}
default: allow
`
	commandConfig = `collector: http://127.0.0.1:8420
token_file: token
trust: /var/lib/sluice-collector/trust.json
`
)

// install sets the node up by the commands of docs/operations.md. The agent is
// not started yet. What a person edits there is written here; there is no
// roster, since nobody approves anything.
func (m *machine) install() error {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		return err
	}
	steps := []string{
		"cd /root/sluice && mkdir -p /etc/sluice ~/.config/sluice",
		write("/etc/sluice/collector.yaml", collectorConfig),
	}
	steps = append(steps, commands(string(text), "3. **The collector.**")...)
	steps = append(steps, commands(string(text), "4. **Enrol each runner**")...)
	steps = append(steps,
		"mv /var/lib/sluice-collector/handover/node1 .",
		"echo secret >shop-db.password",
		write("/etc/sluice/agent.yaml", agentConfig),
		write("/etc/sluice/policy.yaml", policy),
	)
	steps = append(steps, commands(string(text), "5. **The agent.**")...)
	steps = append(steps,
		"cp bin/sluice /usr/local/bin/",
		write("~/.config/sluice/config.yaml", commandConfig),
		`sed -n 's/^bootstrap token *//p' init >~/.config/sluice/token`,
		// What runs jobs gets the drop-in, as docker has it.
		"install -D -m 0644 deploy/systemd/docker.service.d/sluice.conf /etc/systemd/system/runner.service.d/sluice.conf",
		"systemctl daemon-reload",
	)
	out, status, err := m.run("set -e\n" + strings.Join(steps, "\n"))
	if err == nil && status != 0 {
		err = fmt.Errorf("install: status %d\n%s", status, out)
	}
	return err
}

func write(file, text string) string {
	return fmt.Sprintf("cat >%s <<END\n%sEND", file, text)
}

// commands returns the lines of the first block of commands behind a heading.
func commands(text, heading string) (lines []string) {
	_, after, _ := strings.Cut(text, heading)
	_, after, _ = strings.Cut(after, "```sh\n")
	block, _, _ := strings.Cut(after, "```")
	for line := range strings.Lines(block) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "editor "), strings.Contains(line, "roster"):
		case strings.HasPrefix(line, "systemctl enable --now sluice-agent"): // the tests do
		case strings.HasSuffix(line, "sluice-collector init"):
			lines = append(lines, line+" >init")
		default:
			lines = append(lines, line)
		}
	}
	return lines
}
