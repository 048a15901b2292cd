package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/testenv/issuer"
)

const node = "node-1"

// desk is ada's terminal: a real collector with one enrolled agent, and a
// configuration that makes her a responder and an approver.
type desk struct {
	t      *testing.T
	dir    string
	config string
	node   *collectortest.Agent
	bus    *bus.Agent
	key    ed25519.PrivateKey // of the node
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	people := d.issuer()
	var cfg collector.Config
	cfg.Defaults()
	cfg.Cluster, cfg.DataDir = collectortest.Cluster, config.Path(d.path("data"))
	check(t, cfg.API.Listen.UnmarshalText([]byte("127.0.0.1:0")))
	check(t, cfg.Bus.Listen.UnmarshalText([]byte("127.0.0.1:0")))
	cfg.Bus.StreamLimit = 64 << 20
	cfg.People.Issuer, cfg.People.Audience = people.URL(), "sluice"
	cfg.People.Roles = []collector.GroupRoles{
		{Group: "dba", Roles: []api.Role{api.Approver, api.Responder}}, {Group: "admins", Roles: []api.Role{api.Admin}},
	}
	cfg.Approvals.RosterFile = config.Path(d.path("roster"))
	cfg.Approvals.RootKey = d.roster(people.URL())
	_, err := collector.Init(cfg)
	check(t, err)
	check(t, collector.Enrol(cfg, node, d.path(node)))
	d.run(cfg)
	token, err := people.Mint(map[string]any{"sub": "ada", "aud": "sluice", "groups": []string{"dba"}})
	check(t, err)
	d.write("token", token)
	admin, err := people.Mint(map[string]any{"sub": "ada", "aud": "sluice", "groups": []string{"dba", "admins"}})
	check(t, err)
	d.write("admin-token", admin)
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) write(name, content string) {
	d.t.Helper()
	check(d.t, os.WriteFile(d.path(name), []byte(content), 0o600))
}

func (d *desk) read(name string) string {
	d.t.Helper()
	data, err := os.ReadFile(d.path(name))
	check(d.t, err)
	return strings.TrimSpace(string(data))
}

func (d *desk) issuer() *issuer.Issuer {
	d.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	people, err := issuer.New("http://"+server.Listener.Addr().String(), d.path("issuer"))
	check(d.t, err)
	server.Config.Handler, err = issuer.NewProvider(people, "sluice", []string{"http://127.0.0.1/callback"}, []issuer.Person{
		{Name: "ada", Groups: []string{"dba"}}, {Name: "nobody", Groups: []string{"guests"}},
	})
	check(d.t, err)
	server.Start()
	d.t.Cleanup(server.Close)
	return people
}

// roster makes ada's key and a roster through the program itself, and returns
// the root's public key.
func (d *desk) roster(issuerURL string) string {
	d.t.Helper()
	ada, root := d.newKey("ada.pem"), d.newKey("root.pem")
	text, err := json.Marshal(approval.Roster{
		Version: 1, NotAfter: time.Now().Add(time.Hour), Publishers: []string{"dba"},
		Approvers: []approval.Approver{{
			Name: "ada", Groups: []string{"dba"}, Keys: []string{ada},
			Accounts: []approval.Account{{Issuer: issuerURL, Subject: "ada"}},
		}},
	})
	check(d.t, err)
	d.write("roster.json", string(text))
	d.config = d.path("config.yaml")
	d.write("config.yaml", "collector: http://127.0.0.1:1\n")
	d.sluice(0, "roster", "sign", d.path("roster.json"), "--root-key", d.path("root.pem"), "-o", d.path("roster"))
	out := d.sluice(0, "roster", "show", d.path("roster"), "--root", root)
	if !strings.Contains(out, "ada") {
		d.t.Errorf("roster show: %s", out)
	}
	return root
}

// newKey writes a private key and returns the public one.
func (d *desk) newKey(name string) string {
	d.t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	check(d.t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	check(d.t, err)
	d.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	text, err := approval.FormatPublicKey(public)
	check(d.t, err)
	return text
}

func (d *desk) run(cfg collector.Config) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := zaptest.NewLogger(d.t)
	c, err := collector.Open(ctx, cfg, log)
	if err != nil {
		cancel()
		d.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	skey := d.read(node + "/" + collector.SigningKeyFile)
	d.key, err = translog.PrivateKey(skey)
	check(d.t, err)
	trustFile, err := translog.ParseTrust([]byte(d.read("data/trust.json")))
	check(d.t, err)
	d.node = collectortest.WithKey(d.t, node, skey, trustFile.Agents[0])
	d.bus, err = bus.ConnectAgent(bus.AgentConfig{
		URL: c.BusURL(), Cluster: collectortest.Cluster, Agent: node, Log: log,
		Security: bus.Security{Seed: []byte(d.read(node + "/" + collector.SeedFile))},
	})
	check(d.t, err)
	d.t.Cleanup(func() {
		d.bus.Close()
		cancel()
		check(d.t, <-done)
		check(d.t, c.Close())
	})
	d.write("config.yaml", fmt.Sprintf("collector: http://%s\ntoken_file: token\ntrust: data/trust.json\nkey: ada.pem\n", c.APIAddress()))
}

// send publishes one batch and waits until the collector shows its sessions.
func (d *desk) send(session string, records ...collectortest.Record) {
	d.t.Helper()
	m := d.node.Batch(records...)
	await(d.t, "the bus takes a batch", func() bool { return d.bus.PublishBatch(d.t.Context(), m.Note, m.Payload) == nil })
	await(d.t, "the session is there", func() bool {
		var out, errs bytes.Buffer
		run(d.t.Context(), []string{"--config", d.config, "sessions"}, strings.NewReader(""), &out, &errs)
		return strings.Contains(out.String(), session)
	})
}

// sluice runs the program and returns what it printed.
func (d *desk) sluice(status int, args ...string) string {
	d.t.Helper()
	var out bytes.Buffer
	got := run(d.t.Context(), append([]string{"--config", d.config}, args...), strings.NewReader(""), &out, &out)
	if got != status {
		d.t.Errorf("sluice %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, status, out.String())
	}
	return out.String()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
