package collector_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/testenv/issuer"
)

const node = "node-1"

// site is one collector with an OIDC issuer and an approver, ada.
type site struct {
	t         testing.TB
	dir       string
	cfg       collector.Config
	bootstrap string
	issuer    *issuer.Issuer
	provider  *issuer.Provider
	login     *httptest.Server // of the issuer
	ada       ed25519.PrivateKey
	root      ed25519.PrivateKey
	roster    approval.Roster

	collector *collector.Collector
	stop      func()
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.cfg.Defaults()
	s.cfg.Cluster = "test"
	s.cfg.DataDir = config.Path(filepath.Join(s.dir, "data"))
	s.cfg.API.Listen, s.cfg.Bus.Listen = anyPort(t), anyPort(t)
	s.serveIssuer()
	if _, bench := t.(*testing.B); !bench {
		s.cfg.Bus.StreamLimit = 64 << 20 // so much do the tests' own NATS servers keep
	}
	s.cfg.People.Issuer, s.cfg.People.Audience = s.issuer.URL(), "sluice"
	s.cfg.People.Roles = []collector.GroupRoles{
		{Group: "dba", Roles: []api.Role{"approver"}},
		{Group: "responders", Roles: []api.Role{"viewer", "responder"}},
		{
			Group: "team-a", Roles: []api.Role{"viewer", "responder", "approver", "admin"},
			Resources: []string{"shop-db"}, Repositories: []string{"acme/shop"},
		},
		{Group: "company", Roles: []api.Role{"viewer", "responder"}, Repositories: []string{"acme/*"}},
	}
	s.signRoster()
	made, err := collector.Init(s.cfg)
	check(t, err)
	s.bootstrap = made.BootstrapToken
	check(t, collector.Enrol(s.cfg, node, s.path(node)))
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// anyPort finds a free port, so that agents find the bus again after a
// restart. It is below those that the kernel gives to connections
// (ip_local_port_range), which would take it in between.
func anyPort(t testing.TB) config.Address {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err != nil {
			continue
		}
		var address config.Address
		check(t, address.UnmarshalText([]byte(l.Addr().String())))
		check(t, l.Close())
		return address
	}
	t.Fatal("no port is free")
	return config.Address{}
}

func (s *site) serveIssuer() {
	s.t.Helper()
	s.login = httptest.NewUnstartedServer(nil)
	var err error
	s.issuer, err = issuer.New("http://"+s.login.Listener.Addr().String(), s.path("issuer"))
	check(s.t, err)
	s.provider, err = issuer.NewProvider(s.issuer, "sluice", []string{s.console() + "/login/callback"}, []issuer.Person{
		{Name: "ada", Groups: []string{"dba", "responders"}},
		{Name: "eve", Groups: []string{"dba"}},
		{Name: "tom", Groups: []string{"team-a"}},
		{Name: "rita", Groups: []string{"team-a", "company"}},
		{Name: "nobody", Groups: []string{"guests"}},
	})
	check(s.t, err)
	s.login.Config.Handler = s.provider
	s.login.Start()
	s.t.Cleanup(s.login.Close)
}

func (s *site) signRoster() {
	s.t.Helper()
	rootPublic, root, err := ed25519.GenerateKey(nil)
	check(s.t, err)
	adaPublic, ada, err := ed25519.GenerateKey(nil)
	check(s.t, err)
	s.ada = ada
	adaKey, err := approval.FormatPublicKey(adaPublic)
	check(s.t, err)
	s.root = root
	s.cfg.Approvals.RosterFile = config.Path(s.path("roster"))
	s.cfg.Approvals.RootKey, err = approval.FormatPublicKey(rootPublic)
	check(s.t, err)
	s.roster = approval.Roster{
		Version: 1, NotAfter: time.Now().Add(time.Hour),
		Approvers: []approval.Approver{{
			Name: "ada", Groups: []string{"dba"}, Keys: []string{adaKey},
			Accounts: []approval.Account{{Issuer: s.issuer.URL(), Subject: "ada"}},
		}},
	}
	s.publishRoster()
}

// publishRoster signs the roster as it is now.
func (s *site) publishRoster() {
	s.t.Helper()
	signed, err := approval.SignRoster(s.roster, s.root)
	check(s.t, err)
	check(s.t, os.WriteFile(s.path("roster"), signed, 0o600))
}

// withConsole lets the console's key vote.
func (s *site) withConsole() {
	s.t.Helper()
	key, err := os.ReadFile(s.path("data/console.pub"))
	check(s.t, err)
	s.roster.Version++
	s.roster.Console = strings.TrimSpace(string(key))
	s.publishRoster()
}

// console is where people open it.
func (s *site) console() string { return "http://" + s.cfg.API.Listen.String() }

// start runs the collector until stop is called.
func (s *site) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := collector.Open(ctx, s.cfg, s.log())
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stopped := false
	s.collector = c
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("collector: %v", err)
		}
		if err := c.Close(); err != nil {
			s.t.Errorf("close collector: %v", err)
		}
	}
}

// log is silent in benchmarks: what it says of a million records is not read.
func (s *site) log() *zap.Logger {
	if _, bench := s.t.(*testing.B); bench {
		return zap.NewNop()
	}
	return zaptest.NewLogger(s.t)
}

// token mints a token for a person in groups.
func (s *site) token(subject string, groups ...string) string {
	s.t.Helper()
	token, err := s.issuer.Mint(map[string]any{"sub": subject, "aud": "sluice", "groups": groups})
	check(s.t, err)
	return token
}

// call asks the API and returns status and body.
func (s *site) call(token, method, path string, body string) (int, []byte) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.collector.APIAddress().String()+path, strings.NewReader(body))
	check(s.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	check(s.t, err)
	defer func() { check(s.t, answer.Body.Close()) }()
	data, err := io.ReadAll(answer.Body)
	check(s.t, err)
	return answer.StatusCode, data
}

// get reads a JSON answer as the bootstrap token's holder.
func get[T any](s *site, path string) T {
	s.t.Helper()
	status, data := s.call(s.bootstrap, http.MethodGet, path, "")
	var into T
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, status, data)
	}
	check(s.t, json.Unmarshal(data, &into))
	return into
}

// agent is the evidence half of a node agent: a real audit log on a real bus.
type agent struct {
	*audit.Log
	bus *bus.Agent
	key ed25519.PrivateKey

	updates chan approval.Update
	orders  chan []byte
}

func (s *site) agent() *agent {
	s.t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(s.path(node), name))
		check(s.t, err)
		return strings.TrimSpace(string(data))
	}
	signer, err := translog.NewSigner(read(collector.SigningKeyFile))
	check(s.t, err)
	logKey, err := translog.NewVerifier(read(collector.LogKeyFile))
	check(s.t, err)
	a := &agent{updates: make(chan approval.Update, 64), orders: make(chan []byte, 64)}
	a.key, err = translog.PrivateKey(read(collector.SigningKeyFile))
	check(s.t, err)
	var running atomic.Pointer[audit.Log]
	a.bus, err = bus.ConnectAgent(bus.AgentConfig{
		URL: fmt.Sprintf("nats://%s", s.cfg.Bus.Listen), Cluster: "test", Agent: node,
		Security: bus.Security{Seed: []byte(read(collector.SeedFile))}, Log: s.log(),
		Connected: func() {
			if log := running.Load(); log != nil {
				log.Connected()
			}
		},
	})
	check(s.t, err)
	sp, err := spool.Open(spool.Config{Dir: s.path("spool"), Segment: 1 << 20, Limit: 32 << 20})
	check(s.t, err)
	a.Log, err = audit.Open(audit.Config{
		Spool: sp, Signer: signer, Collector: logKey, Cluster: "test", Agent: node,
		About: record.Agent{Version: "test", Host: "host", Policy: "00"}, Publish: a.bus.PublishBatch, Log: s.log(),
		Sync: func(ctx context.Context, request []byte) ([]byte, error) {
			reply, err := a.bus.Sync(ctx, request)
			return reply.Receipt, err
		},
	})
	check(s.t, err)
	running.Store(a.Log)
	check(s.t, a.bus.OnReceipt(a.Deliver))
	check(s.t, a.bus.OnOrder(func(signed []byte) { a.orders <- signed }))
	check(s.t, a.bus.OnApproval(func(_ string, message []byte) {
		if u, err := approval.DecodeUpdate(message); err == nil {
			a.updates <- u
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		check(s.t, <-done)
		a.bus.Close()
		check(s.t, sp.Close())
	})
	return a
}

func (a *agent) public() ed25519.PublicKey { return a.key.Public().(ed25519.PublicKey) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func await(t testing.TB, what string, done func() bool) {
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
