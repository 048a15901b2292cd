package mysql_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/mysql"
	"github.com/sluicegate/sluice/pkg/session"
)

type decider func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) (protocol.Decision, error)

// guard answers by a function, or allows, and keeps what it saw.
type guard struct {
	decide decider

	mu       sync.Mutex
	last     uint64
	seen     []operation.Operation // guarded by mu; text and parameters copied
	outcomes map[uint64]protocol.Outcome
	recorded bytes.Buffer
}

type exchange struct {
	guard *guard
	op    *operation.Operation
	id    uint64
}

func (g *guard) Begin(_ context.Context, op *operation.Operation) (protocol.Exchange, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	op.ID = g.last
	kept := *op
	kept.Text, kept.Source, kept.Bytes = bytes.Clone(op.Text), bytes.Clone(op.Source), bytes.Clone(op.Bytes)
	kept.Params = nil
	for _, p := range op.Params {
		p.Text = bytes.Clone(p.Text)
		kept.Params = append(kept.Params, p)
	}
	if op.SQL != nil {
		kept.SQL = &operation.SQL{Statements: append([]operation.SQLStatement(nil), op.SQL.Statements...)}
	}
	g.seen = append(g.seen, kept)
	return &exchange{guard: g, op: op, id: op.ID}, nil
}

func (e *exchange) Decide(ctx context.Context, waiting func(protocol.Waiting)) (protocol.Decision, error) {
	if e.guard.decide == nil {
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
	return e.guard.decide(ctx, e.op, waiting)
}

// DecideNow lets what only reads pass at once, unless a function decides.
func (e *exchange) DecideNow() (protocol.Decision, bool, error) {
	return protocol.Decision{Effect: protocol.Allow}, e.guard.decide == nil && e.op.ReadOnly, nil
}

func (e *exchange) Digested(stream protocol.Stream, at time.Duration, chunk []byte, _ func() string) error {
	return e.Record(stream, at, chunk)
}

func (e *exchange) Record(stream protocol.Stream, _ time.Duration, chunk []byte) error {
	if stream == protocol.Request && e.op.SealedRequest || stream == protocol.Response && e.op.SealedResponse {
		return nil // by digest and size
	}
	e.guard.mu.Lock()
	defer e.guard.mu.Unlock()
	if e.guard.recorded.Len() < 1<<20 {
		e.guard.recorded.Write(chunk)
	}
	return nil
}

func (e *exchange) Finish(at time.Duration, chunk []byte, outcome protocol.Outcome) error {
	if err := e.Record(protocol.Response, at, chunk); err != nil {
		return err
	}
	return e.Done(outcome)
}

func (e *exchange) Done(outcome protocol.Outcome) error {
	e.guard.mu.Lock()
	defer e.guard.mu.Unlock()
	if e.guard.outcomes == nil {
		e.guard.outcomes = make(map[uint64]protocol.Outcome)
	}
	if _, twice := e.guard.outcomes[e.id]; twice {
		return fmt.Errorf("operation %d is done twice", e.id)
	}
	e.guard.outcomes[e.id] = outcome
	return nil
}

// operations returns what was asked about, of a kind.
func (g *guard) operations(kind operation.Kind) (all []operation.Operation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, op := range g.seen {
		if op.Kind == kind {
			all = append(all, op)
		}
	}
	return all
}

func (g *guard) outcome(id uint64) protocol.Outcome {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.outcomes[id]
}

// proxy is the plug-in between a listener and the real server.
type proxy struct {
	port  int
	guard *guard
	errs  chan error

	observed *observed // what passed; nil unless it is only observed

	mu   sync.Mutex
	seen bytes.Buffer // guarded by mu; what clients received, if tapped
}

// received returns what clients received since the last call.
func (p *proxy) received() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := bytes.Clone(p.seen.Bytes())
	p.seen.Reset()
	return b
}

type proxyOptions struct {
	decide     decider
	masks      []mask.Column
	paths      []mask.Path
	detect     []mask.Detection
	sqlRules   bool
	tapped     bool
	statements int
	clientTLS  *tls.Config
	tls        protocol.ServerTLS
	user       string
	password   string
	observed   *observed // what passes of sessions that are only observed
}

func startProxy(t testing.TB, s *server, o proxyOptions) *proxy {
	t.Helper()
	if o.tls.Config == nil {
		o.tls.Mode = protocol.TLSOff
	}
	if o.user == "" {
		o.user, o.password = "app", "app-secret"
	}
	plugin, err := mysql.New(mysql.Options{MaxStatements: o.statements})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{port: l.Addr().(*net.TCPAddr).Port, guard: &guard{decide: o.decide}, errs: make(chan error, 1024), observed: o.observed}
	ctx, cancel := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				err := plugin.Serve(ctx, p.conn(client, s, o))
				select {
				case p.errs <- err:
				default:
				}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		sessions.Wait()
	})
	return p
}

func (p *proxy) conn(client net.Conn, s *server, o proxyOptions) *protocol.Conn {
	destination := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.port))
	if o.tapped {
		client = p.tapped(client)
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", destination.String())
	}
	if o.observed != nil {
		client, dial = o.observed.between(client, dial)
	}
	opened := &session.Session{ID: session.NewID(), Resource: "shop-mysql", Protocol: "mysql", Destination: destination, Started: time.Now()}
	return &protocol.Conn{
		Session:    opened,
		Client:     client,
		Dial:       dial,
		Observe:    o.observed != nil,
		ClientTLS:  o.clientTLS,
		TLS:        o.tls,
		Credential: protocol.Credential{User: o.user, Password: o.password},
		Guard:      p.guard,
		Masks:      &mask.Set{Columns: o.masks, Paths: o.paths, Detect: o.detect},
		SQLRules:   o.sqlRules,
		Log:        zap.NewNop(),
	}
}
