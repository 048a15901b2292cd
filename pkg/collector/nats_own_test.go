package collector_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/config"
)

// natsServer is a real nats-server, a process of its own, with the users that
// NATSUsers prints and nobody else.
type natsServer struct {
	t       *testing.T
	program string
	dir     string
	more    string // of its configuration
	site    *site
	process *exec.Cmd
}

// ownBus makes a stopped site use a server of its own, which is not started.
func ownBus(t *testing.T, s *site, scheme string) *natsServer {
	t.Helper()
	n := &natsServer{t: t, dir: t.TempDir(), site: s}
	n.program = filepath.Join(n.dir, "nats-server")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", n.program, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	seed, _, err := bus.NewUser()
	check(t, err)
	check(t, os.WriteFile(s.path("bus.seed"), append(seed, '\n'), 0o600))
	s.cfg.Bus.URL = scheme + "://" + s.cfg.Bus.Listen.String()
	s.cfg.Bus.NkeySeedFile = config.Path(s.path("bus.seed"))
	t.Cleanup(n.kill)
	return n
}

// configure writes the server's configuration for the agents that are enrolled.
func (n *natsServer) configure() {
	n.t.Helper()
	users, err := collector.NATSUsers(n.site.cfg)
	check(n.t, err)
	check(n.t, os.WriteFile(filepath.Join(n.dir, "users.conf"), []byte(users), 0o600))
	file := fmt.Sprintf("listen: %q\nlog_file: %q\nauthorization { include users.conf }\njetstream { store_dir: %q, sync_interval: always, max_file_store: 256MB }\n%s",
		n.site.cfg.Bus.Listen, filepath.Join(n.dir, "log"), filepath.Join(n.dir, "store"), n.more)
	check(n.t, os.WriteFile(filepath.Join(n.dir, "nats.conf"), []byte(file), 0o600))
}

func (n *natsServer) start() {
	n.t.Helper()
	n.process = exec.Command(n.program, "-c", filepath.Join(n.dir, "nats.conf"))
	check(n.t, n.process.Start())
}

func (n *natsServer) kill() {
	if n.process != nil {
		_ = n.process.Process.Kill()
		_ = n.process.Wait()
		n.process = nil
	}
}

func (n *natsServer) log() string {
	n.t.Helper()
	data, err := os.ReadFile(filepath.Join(n.dir, "log"))
	check(n.t, err)
	return string(data)
}

// TestServerOfOnesOwnMayBeAwayAtStartAndUnderWay runs collector and agent with
// a server of its own that is not there at first, is killed, and comes back
// empty.
func TestServerOfOnesOwnMayBeAwayAtStartAndUnderWay(t *testing.T) {
	s := newSite(t)
	s.stop()
	n := ownBus(t, s, "nats")
	n.configure()
	s.start()
	if status, _ := s.call(s.bootstrap, http.MethodGet, "/v1/sessions", ""); status != http.StatusOK {
		t.Errorf("without a bus the API answers %d", status)
	}
	a := s.agent()
	a.runFor(t, "before00", "shop-db", "acme/shop", "SELECT 1")
	n.start()
	s.awaitSession("before00")

	n.kill()
	a.runFor(t, "killed00", "shop-db", "acme/shop", "SELECT 2")
	n.start()
	s.awaitSession("killed00")

	n.kill()
	a.runFor(t, "wiped000", "shop-db", "acme/shop", "SELECT 3")
	check(t, os.RemoveAll(filepath.Join(n.dir, "store")))
	n.start()
	s.awaitSession("wiped000")
	if text := n.log(); strings.Contains(strings.ToLower(text), "violation") {
		t.Errorf("the permissions are not enough:\n%s", text)
	}
}

func TestAgentEnrolledLaterNeedsItsUserThere(t *testing.T) {
	s := newSite(t)
	s.stop()
	n := ownBus(t, s, "nats")
	n.configure()
	n.start()
	s.start()
	check(t, collector.Enrol(s.cfg, "node-2", s.path("node-2")))
	second := connect(t, s, "node-2", nil)
	publish := func() error { return second.PublishBatch(t.Context(), []byte("note"), nil) }
	if err := publish(); err == nil {
		t.Error("an agent that the server does not know published")
	}
	n.configure()
	await(t, "the server is up", func() bool { // one that is told to read its file earlier starts twice
		text, err := os.ReadFile(filepath.Join(n.dir, "log"))
		return err == nil && strings.Contains(string(text), "Server is ready")
	})
	check(t, n.process.Process.Signal(syscall.SIGHUP))
	await(t, "its user is there", func() bool { return publish() == nil })
}

func TestServerOfOnesOwnIsSpokenToOverTLSWithACertificate(t *testing.T) {
	s := newSite(t)
	s.stop()
	n := ownBus(t, s, "tls")
	certFile, keyFile := s.path("cert.pem"), s.path("key.pem")
	encrypted := certify(t, certFile, keyFile)
	n.more = fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }\n", certFile, keyFile, certFile)
	n.configure()
	n.start()
	s.cfg.Bus.CAFile, s.cfg.Bus.CertFile, s.cfg.Bus.KeyFile = config.Path(certFile), config.Path(certFile), config.Path(keyFile)
	s.start()
	agent := connect(t, s, node, encrypted)
	skey, err := os.ReadFile(filepath.Join(s.path(node), collector.SigningKeyFile))
	check(t, err)
	session := collectortest.NewSession(time.Now())
	batch := collectortest.WithKey(t, node, string(skey), s.trust().Agents[0]).Batch(session.Opened(), session.Closed())
	await(t, "the batch is taken", func() bool { return agent.PublishBatch(t.Context(), batch.Note, batch.Payload) == nil })
	s.awaitSession(session.ID)
}

// certify writes a certificate for this machine and its key, and returns what
// shows and trusts it.
func certify(t *testing.T, certFile, keyFile string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	check(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	check(t, err)
	trusted := x509.NewCertPool()
	trusted.AddCert(pair.Leaf)
	return &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
}

// connect connects as an enrolled agent.
func connect(t *testing.T, s *site, name string, encrypted *tls.Config) *bus.Agent {
	t.Helper()
	seed, err := os.ReadFile(filepath.Join(s.path(name), collector.SeedFile))
	check(t, err)
	a, err := bus.ConnectAgent(bus.AgentConfig{
		URL: s.cfg.Bus.URL, Cluster: s.cfg.Cluster, Agent: name, Log: zap.NewNop(),
		Security: bus.Security{Seed: bytes.TrimSpace(seed), TLS: encrypted},
	})
	check(t, err)
	t.Cleanup(a.Close)
	return a
}

func TestBusOfOnesOwnThatCannotWorkIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		`bus: {url: "nats://192.0.2.1:4222", nkey_seed_file: s}`:                        "sends records readable",
		`bus: {url: "nats://192.0.2.1:4222", nkey_seed_file: s, plain_text: true}`:      "",
		`bus: {url: "tls://a.example:4222, tls://b.example:4222", credentials_file: c}`: "",
		`bus: {url: "nats://127.0.0.1:4222", nkey_seed_file: s, replicas: 3}`:           "",
		`bus: {url: "nats://127.0.0.1:4222", nkey_seed_file: s, replicas: 2}`:           "bus.replicas",
		`bus: {url: "nats://127.0.0.1:4222"}`:                                           "bus.nkey_seed_file",
		`bus: {url: "nats://127.0.0.1:4222", nkey_seed_file: s, credentials_file: c}`:   "bus.nkey_seed_file",
		`bus: {url: "https://a.example", nkey_seed_file: s}`:                            "bus.url",
		`bus: {url: "nats://u:p@127.0.0.1:4222", nkey_seed_file: s}`:                    "bus.url",
		`bus: {url: "tls://a.example:4222", nkey_seed_file: s, cert_file: c}`:           "bus.cert_file",
		`bus: {nkey_seed_file: s}`:                                                      "bus.url",
		`bus: {replicas: 3}`:                                                            "bus.url",
	} {
		_, err := config.Parse[collector.Config]("c.yaml", []byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
