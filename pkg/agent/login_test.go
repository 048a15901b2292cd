package agent

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// bearing is a protocol that logs in as Kubernetes does.
type bearing struct{ protocol.Protocol }

func (bearing) Info() protocol.Info {
	return protocol.Info{Name: "kubernetes", Logins: protocol.TokenLogin | protocol.CertificateLogin}
}

func TestLoginIsOneThatTheProtocolCanUse(t *testing.T) {
	for login, ok := range map[string]bool{
		"token_file: t":             true,
		"cert_file: c, key_file: k": true,
		"password_file: p":          false,
		"key_file: k":               false,
		"ca_key_file: k":            false,
	} {
		text := "version: 1\nresources:\n  - {name: a, protocol: kubernetes, hosts: [192.0.2.1], port: 6443, credentials: [{user: u, " + login + "}]}\ndefault: deny\n"
		rules, err := policy.Parse("policy.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		a := &Agent{Parts: Parts{Policy: rules, Protocols: map[string]protocol.Protocol{"kubernetes": bearing{}}}}
		err = a.speaks(rules.Resources()[0])
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "cannot log in") {
			t.Errorf("%s: %v", login, err)
		}
	}
}
