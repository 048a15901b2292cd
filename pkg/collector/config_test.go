package collector_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/config"
)

func TestEveryProblemOfAConfigurationIsNamed(t *testing.T) {
	const file = `cluster: "two words"
origin: "a+b"
data_dir: /var/lib/x
api: {listen: "192.0.2.1:80", cert_file: a.pem}
bus: {listen: "192.0.2.1:4222", stream_limit: 1MiB}
people: {issuer: ldap://x, roles: [{group: "", roles: [king]}, {group: g, roles: []}]}
approvals: {roster_file: r, root_key: nonsense}
log_level: loud
colour: red
`
	_, err := config.Parse[collector.Config]("c.yaml", []byte(file))
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{
		"c.yaml:1:10: cluster:", "c.yaml:2:9: origin:", "api.cert_file:", "c.yaml:5:15: bus.listen:", "bus.stream_limit:",
		"people.issuer:", "people.audience:", "people.roles[0].group:", "people.roles[0].roles[0]:", "people.roles[1].roles:",
		"approvals.root_key:", "log_level:", "colour: unknown key",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in:\n%v", want, err)
		}
	}
}

func TestPlainTextOutsideOfLoopbackMustBeSaid(t *testing.T) {
	for text, ok := range map[string]bool{
		`api: {listen: "[2001:db8::1]:80"}`:                     false,
		`api: {listen: "[2001:db8::1]:80", plain_text: true}`:   true,
		`bus: {listen: "0.0.0.0:4222"}`:                         false,
		`bus: {listen: "0.0.0.0:4222", plain_text: true}`:       true,
		`bus: {listen: "[::1]:4222"}`:                           true,
		`bus: {listen: ":4222", plain_text: true}`:              false,
		`api: {listen: "0.0.0.0:1", cert_file: c, key_file: k}`: true,
	} {
		if _, err := config.Parse[collector.Config]("c.yaml", []byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAgentMayUseItsOwnSubjectsOnly(t *testing.T) {
	s := newSite(t)
	check(t, collector.Enrol(s.cfg, "node-2", s.path("node-2")))
	seed, err := os.ReadFile(filepath.Join(s.path(node), collector.SeedFile))
	check(t, err)
	connected := make(chan struct{}, 8)
	thief, err := bus.ConnectAgent(bus.AgentConfig{
		URL: "nats://" + s.cfg.Bus.Listen.String(), Cluster: "test", Agent: "node-2",
		Security: bus.Security{Seed: []byte(strings.TrimSpace(string(seed)))}, Log: zaptest.NewLogger(t),
		Connected: func() { connected <- struct{}{} },
	})
	check(t, err)
	defer thief.Close()
	<-connected
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := thief.PublishBatch(ctx, []byte("note"), nil); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("node-1's user publishes as node-2: %v", err)
	}
	if err := thief.PublishApprovalRequest(ctx, "0123", []byte("x")); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("node-1's user asks as node-2: %v", err)
	}
	if _, err := thief.Sync(ctx, []byte("{}")); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("node-1's user syncs as node-2: %v", err)
	}
}

func TestAgentThatIsNoLongerEnrolledIsCutOff(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runSession(t, "before00", "SELECT 1")
	s.awaitSession("before00")
	check(t, os.Remove(s.path("data/agents/"+node+".json")))
	await(t, "the bus refuses the agent", func() bool { return a.bus.Status() != nil })
}
