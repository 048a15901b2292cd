package forward_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/forward"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/testenv/otelcol"
)

// source is a store with one agent that appends to it.
type source struct {
	t     *testing.T
	store *store.Store
	node  *collectortest.Agent
	logs  *observer.ObservedLogs
	log   *zap.Logger
}

func newSource(t *testing.T) *source {
	t.Helper()
	skey, vkey, err := translog.GenerateKey("log.example/test")
	check(t, err)
	signer, err := translog.NewSigner(skey)
	check(t, err)
	s := &source{t: t, node: collectortest.NewAgent(t, "node-1")}
	s.store, err = store.Open(t.Context(), t.TempDir(), vkey, signer)
	check(t, err)
	t.Cleanup(func() { check(t, s.store.Close()) })
	core, logs := observer.New(zapcore.DebugLevel)
	s.log, s.logs = zap.New(core), logs
	return s
}

// add appends one batch.
func (s *source) add(records ...collectortest.Record) {
	s.t.Helper()
	m := s.node.Batch(records...)
	_, err := s.store.Append(s.t.Context(), []store.Batch{s.batch(m)})
	check(s.t, err)
}

func (s *source) batch(m bus.BatchMessage) store.Batch {
	s.t.Helper()
	b := store.Batch{Note: m.Note, Payload: m.Payload}
	var err error
	b.Batch, err = translog.PeekBatch(m.Note)
	check(s.t, err)
	b.Entries, err = record.Unpack(m.Payload)
	check(s.t, err)
	return b
}

// forward runs a sender until stop is called. Its place in the log is set
// before forward returns.
func (s *source) forward(name string, to forward.Receiver, texts bool) (stop func()) {
	s.t.Helper()
	_, err := s.store.Forwarded(s.t.Context(), name)
	check(s.t, err)
	sender := &forward.Sender{Name: name, Receiver: to, Store: s.store, Texts: texts, Log: s.log}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sender.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		check(s.t, <-done)
	})
	s.t.Cleanup(stop)
	return stop
}

func (s *source) otlp(url string, trusted *tls.Config) *forward.OTLP {
	s.t.Helper()
	o, err := forward.NewOTLP(forward.OTLPConfig{URL: url, TLS: trusted, Log: s.log})
	check(s.t, err)
	return o
}

// certificate makes a certificate for this machine, and what trusts it.
func certificate(t *testing.T) (certFile, keyFile string, trusted *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	check(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return certFile, keyFile, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// otherCollector is the receiver of a real OpenTelemetry Collector, a process of its
// own.
type otherCollector struct {
	t       *testing.T
	program string
	args    []string
	process *exec.Cmd
	got     chan map[string]any // log records in OTLP's JSON
}

func newOtelcol(t *testing.T, args ...string) *otherCollector {
	t.Helper()
	c := &otherCollector{t: t, program: filepath.Join(t.TempDir(), "otelcol"), args: args, got: make(chan map[string]any, 1024)}
	check(t, otelcol.Build(t.Context(), c.program))
	t.Cleanup(c.kill)
	return c
}

// start returns when the receiver listens.
func (c *otherCollector) start() {
	c.t.Helper()
	c.process = exec.Command(c.program, c.args...)
	out, err := c.process.StdoutPipe()
	check(c.t, err)
	said, err := c.process.StderrPipe()
	check(c.t, err)
	check(c.t, c.process.Start())
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || line != "ready\n" {
		c.t.Fatalf("the collector says %q, %v", line, err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			for _, one := range logRecords(lines.Bytes()) {
				c.got <- one
			}
		}
	}()
}

func (c *otherCollector) kill() {
	if c.process != nil {
		_ = c.process.Process.Kill()
		_ = c.process.Wait()
		c.process = nil
	}
}

// next waits for a log record.
func (c *otherCollector) next() map[string]any {
	c.t.Helper()
	select {
	case one := <-c.got:
		return one
	case <-time.After(30 * time.Second):
		c.t.Fatal("nothing came within 30 s")
		return nil
	}
}

// logRecords are those of one export.
func logRecords(line []byte) (all []map[string]any) {
	var export struct {
		ResourceLogs []struct {
			ScopeLogs []struct {
				LogRecords []map[string]any `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	}
	if json.Unmarshal(line, &export) != nil {
		return nil
	}
	for _, r := range export.ResourceLogs {
		for _, s := range r.ScopeLogs {
			all = append(all, s.LogRecords...)
		}
	}
	return all
}

// plain turns an AnyValue of OTLP's JSON into what it means.
func plain(value any) any {
	v, _ := value.(map[string]any)
	for kind, content := range v {
		switch kind {
		case "kvlistValue":
			out := map[string]any{}
			for _, one := range list(content) {
				kv := one.(map[string]any)
				out[kv["key"].(string)] = plain(kv["value"])
			}
			return out
		case "arrayValue":
			out := []any{}
			for _, one := range list(content) {
				out = append(out, plain(one))
			}
			return out
		}
		return content
	}
	return nil
}

func list(value any) []any {
	values, _ := value.(map[string]any)["values"].([]any)
	return values
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().String()
}

func check(t testing.TB, err error) {
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
