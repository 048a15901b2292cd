package httpproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// BenchmarkGet reads a kilobyte again and again, by one client and by eight that
// keep their connections: straight from the server, and through an engine with a
// policy and a trail. All three are processes of their own.
func BenchmarkGet(b *testing.B) {
	for _, version := range []string{"HTTP1", "HTTP2"} {
		for _, clients := range []int{1, 8} {
			for _, way := range []string{"direct", "through"} {
				b.Run(fmt.Sprintf("%s/c%d/%s", version, clients, way), func(b *testing.B) {
					r := bareRig(b)
					file := r.keep(b)
					r.server = play(b, roleServer, file).line(b)
					address := r.server
					if way == "through" {
						address = r.listen(b)
					}
					client := play(b, roleClient, file, address, version, fmt.Sprint(clients))
					say := func(times int) {
						fmt.Fprintln(client.to, times)
						client.line(b)
					}
					say(10 * clients) // connections are there, and their buffers
					b.ResetTimer()
					say(b.N)
				})
			}
		}
	}
}

// keep writes the rig's certificate and key to a file.
func (r *rig) keep(b *testing.B) string {
	b.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(r.pair.PrivateKey)
	if err != nil {
		b.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.pair.Certificate[0]})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	file := filepath.Join(b.TempDir(), "pair.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}

// listen serves all who connect, as the agent does, and returns where.
func (r *rig) listen(b *testing.B) string {
	b.Helper()
	ballast := make([]byte, 64<<20) // the agent has as much on its heap: its collections are as far from each other
	b.Cleanup(func() { runtime.KeepAlive(ballast) })
	processors := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * processors) // as the agent has, for its loop
	ctx, stop := context.WithCancel(b.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	guards := newGuards(b)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer client.Close()
				conn := r.benchConn(b, client, guards)
				site := r.site
				site.Login = NewLogin(conn)
				if err := r.engine.Serve(ctx, conn, site); err != nil {
					b.Error(err)
				}
			})
		}
	})
	b.Cleanup(func() {
		_ = listener.Close()
		stop()
		wait.Wait()
		runtime.GOMAXPROCS(processors)
	})
	return listener.Addr().String()
}

func (r *rig) benchConn(b *testing.B, client net.Conn, guards func(*session.Session) (*guard.Guard, error)) *protocol.Conn {
	s := &session.Session{
		ID: session.NewID(), Resource: "api", Protocol: "web", Destination: netip.MustParseAddrPort(r.server), Started: time.Now(),
	}
	g, err := guards(s)
	if err != nil {
		b.Error(err)
	}
	return &protocol.Conn{
		Session: s, Client: client,
		Dial:       func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", r.server) },
		ClientTLS:  &tls.Config{Certificates: []tls.Certificate{r.pair}},
		TLS:        protocol.ServerTLS{Config: &tls.Config{RootCAs: r.roots, ServerName: "server.example"}},
		Credential: protocol.Credential{User: "agent", Token: "a-token-of-the-agent"},
		Guard:      g, Masks: &mask.Set{}, Log: zap.NewNop(),
	}
}

const benchRules = `version: 1
resources:
  - name: api
    protocol: web
    hosts: [192.0.2.1]
    port: 443
    credentials: [{user: agent, token_file: t}]
rules:
  - {name: releases-stay, when: 'op.http.method == "DELETE" && op.http.path.startsWith("/v1/releases/")', effect: deny, reason: Not here.}
default: allow
`

// newGuards opens a trail, and returns what makes the guard of a session.
func newGuards(b *testing.B) func(*session.Session) (*guard.Guard, error) {
	b.Helper()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	pol, err := policy.Parse("policy.yaml", []byte(benchRules))
	must(err)
	key, _, err := translog.GenerateKey(translog.AgentKeyName("main", "node1"))
	must(err)
	signer, err := translog.NewSigner(key)
	must(err)
	_, logKey, err := translog.GenerateKey("sluice/main")
	must(err)
	collector, err := translog.NewVerifier(logKey)
	must(err)
	sp, err := spool.Open(spool.Config{Dir: b.TempDir(), Segment: 16 << 20, Limit: 4 << 30})
	must(err)
	b.Cleanup(func() { _ = sp.Close() })
	log, err := audit.Open(audit.Config{Spool: sp, Signer: signer, Collector: collector, Cluster: "main", Agent: "node1", Log: zap.NewNop()})
	must(err)
	return func(s *session.Session) (*guard.Guard, error) {
		trail, err := log.Session(s)
		if err != nil {
			return nil, err
		}
		return guard.New(guard.Config{
			Session: s, Policy: func() *policy.Policy { return pol }, Trail: trail, Agent: "node1", Cluster: "main",
			Stopped: func() *approval.Order { return nil },
		}), nil
	}
}
