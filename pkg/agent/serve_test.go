package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/trust"
)

func TestEndingTellsPeersFaultsFromOurs(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	fault := errors.New("disk")
	for _, test := range []struct {
		name   string
		ctx    context.Context
		err    error
		reason string
		ours   error
	}{
		{"clean end", t.Context(), nil, "peer", nil},
		{"agent stops", over, nil, "agent", nil},
		{"peer's fault", t.Context(), &protocol.Violation{Leg: protocol.ClientLeg, Reason: "bad frame"}, "violation: client leg: bad frame", nil},
		{"our fault", t.Context(), fault, "fault", fault},
	} {
		reason, err := ending(test.ctx, test.err)
		if reason != test.reason || !errors.Is(err, test.ours) {
			t.Errorf("%s: got %q, %v", test.name, reason, err)
		}
	}
}

func TestServerIsVerifiedUnlessThePolicySaysOff(t *testing.T) {
	named := policy.Resource{Name: "a", Hosts: []policy.Host{{Name: "pg.example.com"}}}
	got, err := serverTLS(named)
	if err != nil || got.Mode != protocol.TLSVerifyFull || got.Config.ServerName != "pg.example.com" || got.Config.InsecureSkipVerify {
		t.Errorf("got %+v, %v", got, err)
	}
	named.ServerTLS.Mode = policy.Off
	if got, err := serverTLS(named); err != nil || got.Mode != protocol.TLSOff {
		t.Errorf("off: got %+v, %v", got, err)
	}
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	named.ServerTLS = policy.ServerTLS{CAFile: empty}
	if _, err := serverTLS(named); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a file without certificates: got %v", err)
	}
}

func TestNewReportsEveryProtocolThatIsMissing(t *testing.T) {
	text := `version: 1
resources:
  - {name: a, protocol: mysql, hosts: [192.0.2.1], port: 3306, credentials: [{user: u, password_file: p}]}
  - {name: b, protocol: redis, hosts: [192.0.2.2], port: 6379, credentials: [{user: u, password_file: p}]}
default: deny
`
	rules, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Parts{Policy: rules})
	if err == nil || !strings.Contains(err.Error(), `"mysql"`) || !strings.Contains(err.Error(), `"redis"`) {
		t.Errorf("got %v", err)
	}
}

func TestSessionIsServedAsOneOfTheResourcesAtItsAddress(t *testing.T) {
	text := `version: 1
resources:
  - {name: shop, protocol: postgres, hosts: [192.0.2.1], port: 5432, select: {databases: [shop]}, credentials: [{user: u, password_file: p}]}
  - {name: staff, protocol: postgres, hosts: [192.0.2.1], port: 5432, select: {databases: [staff]}, credentials: [{user: u, password_file: p}]}
  - {name: elsewhere, protocol: postgres, hosts: [192.0.2.2], port: 5432, credentials: [{user: u, password_file: p}]}
default: deny
`
	rules, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{Parts: Parts{Policy: rules}, resources: make(map[string]*policy.Resource)}
	for _, resource := range rules.Resources() {
		a.resources[resource.Name] = &resource
	}
	here := a.named([]string{"shop", "staff"})
	if len(here) != 2 || a.named([]string{"shop", "gone"}) != nil || a.named(nil) != nil {
		t.Fatalf("at the address are %v", here)
	}
	v := &serving{Agent: a}
	for by, want := range map[protocol.Start]string{
		{Database: "shop", User: "job"}:  "shop",
		{Database: "staff", User: "job"}: "staff",
		{Database: "other", User: "job"}: "",
		{Resource: "staff"}:              "staff",
		{Resource: "elsewhere"}:          "", // a key of another address
		{}:                               "",
	} {
		got, err := v.choose(here, by)
		if (err == nil) != (want != "") || err == nil && got.Name != want {
			t.Errorf("%+v: %v, %v, want %q", by, got, err, want)
		}
	}
	_, err = New(Parts{Policy: rules, Protocols: map[string]protocol.Protocol{"postgres": deaf{}}})
	if err == nil || !strings.Contains(err.Error(), "says nothing to select by") {
		t.Errorf("a protocol that cannot choose: %v", err)
	}
}

// TestCertificateIsOfTheResourcesThatTheNameLeaves compares what a job is shown
// at an address of three resources, and what it is served with then.
func TestCertificateIsOfTheResourcesThatTheNameLeaves(t *testing.T) {
	text := `version: 1
resources:
  - {name: shop, protocol: postgres, hosts: [pg.lab], port: 5432, select: {server_names: ["*.shop.lab"]}, credentials: [{user: u, password_file: p}]}
  - {name: staff, protocol: postgres, hosts: [pg.lab, hr.lab], port: 5432, select: {server_names: [hr.lab], databases: [hr]}, credentials: [{user: u, password_file: p}]}
  - {name: rest, protocol: postgres, hosts: [other.lab], port: 5432, select: {databases: [rest]}, credentials: [{user: u, password_file: p}]}
default: deny
`
	rules, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := trust.New(Bounds(rules), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := trust.Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Parts{Policy: rules, Trust: authority, Protocols: map[string]protocol.Protocol{"postgres": choosing{}}})
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	among := []string{"shop", "staff", "rest"}
	config := a.sharedTLS(among, netip.MustParseAddr("192.0.2.7"), func() { refused++ })
	for name, want := range map[string]string{
		"eu.shop.lab": "eu.shop.lab pg.lab", "HR.lab": "hr.lab pg.lab", "other.lab": "other.lab", "pg.lab": "other.lab", "": "other.lab",
	} {
		shown, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || shown == nil || strings.Join(slices.Sorted(slices.Values(shown.Leaf.DNSNames)), " ") != want {
			t.Errorf("%q is shown %+v, %v, want %s", name, shown, err, want)
		}
	}
	config = a.sharedTLS(among[:2], netip.MustParseAddr("192.0.2.7"), func() { refused++ })
	for _, name := range []string{"", "pg.lab", "a.b.shop.lab", "x\x00.shop.lab"} {
		if shown, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: name}); shown != nil || err != nil {
			t.Errorf("%q is shown %v, %v", name, shown, err)
		}
	}
	if refused != 4 {
		t.Errorf("%d refusals are told of", refused)
	}
	v := &serving{Agent: a}
	for by, want := range map[protocol.Start]string{
		{ServerName: "hr.lab", Database: "hr"}:     "staff",
		{ServerName: "hr.lab", Database: "rest"}:   "",
		{ServerName: "a.shop.lab", Database: "hr"}: "shop",
		{ServerName: "", Database: "hr"}:           "",
		{ServerName: "", Database: "rest"}:         "rest",
	} {
		got, err := v.choose(a.named(among), by)
		if (err == nil) != (want != "") || err == nil && got.Name != want {
			t.Errorf("%+v: %v, %v, want %q", by, got, err, want)
		}
	}
	if _, err := New(Parts{Policy: rules, Protocols: map[string]protocol.Protocol{"postgres": choosing{}}}); err == nil || !strings.Contains(err.Error(), "needs the configuration's trust.ca_file") {
		t.Errorf("without an authority: %v", err)
	}
	narrow, key, err := trust.New(trust.Constraints{Names: []string{"pg.lab", "hr.lab", "other.lab"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if authority, err = trust.Load(narrow, key); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Parts{Policy: rules, Trust: authority, Protocols: map[string]protocol.Protocol{"postgres": choosing{}}}); err == nil || !strings.Contains(err.Error(), "cannot speak for shop.lab") {
		t.Errorf("with an authority for the hosts alone: %v", err)
	}
}

// choosing is a protocol whose clients say what they want.
type choosing struct{ protocol.Protocol }

func (choosing) Info() protocol.Info {
	return protocol.Info{Name: "postgres", Logins: protocol.PasswordLogin, Chooses: true}
}

// deaf is a protocol whose clients say nothing as they begin.
type deaf struct{ protocol.Protocol }

func (deaf) Info() protocol.Info {
	return protocol.Info{Name: "postgres", Logins: protocol.PasswordLogin}
}
