package postgres_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// TestHeldStatementsAreLookedAtWithTheirParameters looks while the statement
// waits on the wire, in each of pgx's ways of sending one.
func TestHeldStatementsAreLookedAtWithTheirParameters(t *testing.T) {
	s := reachDatabase(t, "reach")
	plugin, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	conn := &protocol.Conn{
		Session: &session.Session{ID: "look", Resource: "shop-db", Protocol: "postgres"},
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(s.port))
		},
		TLS:        protocol.ServerTLS{Mode: protocol.TLSOff},
		Credential: protocol.Credential{User: "app", Password: "app-secret"},
		Log:        zap.NewNop(),
	}
	var mu sync.Mutex
	var looks []*operation.Reach
	var inside []bool
	p := startProxy(t, s, proxyOptions{sqlRules: true, decide: func(ctx context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		if op.SQL != nil && op.SQL.Statements[0].Kind == "DELETE" {
			reach := plugin.(protocol.Reacher).Reach(ctx, conn, op)
			mu.Lock()
			defer mu.Unlock()
			looks, inside = append(looks, reach), append(inside, op.Context.InTransaction)
			return protocol.Decision{}, nil
		}
		return protocol.Decision{Effect: protocol.Allow}, nil
	}})
	c, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://job@127.0.0.1:%d/reach?sslmode=disable", p.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	for _, mode := range modes {
		if _, err := c.Exec(t.Context(), "DELETE FROM orders WHERE id <= $1 AND state = $2", mode, 100, "open"); err == nil {
			t.Error("it was not refused")
		}
	}
	for i, reach := range looks {
		if len(reach.Statements) != 1 || reach.Statements[0].Counted == nil || *reach.Statements[0].Counted != 10 || inside[i] {
			t.Errorf("%v: %s", modes[i], told(reach))
		}
	}
	if len(looks) != len(modes) {
		t.Fatalf("%d were looked at", len(looks))
	}
	// What stands behind another one in a pipeline shares its transaction.
	batch := &pgx.Batch{}
	batch.Queue("UPDATE items SET id = 1")
	batch.Queue("DELETE FROM orders")
	if err := c.SendBatch(t.Context(), batch).Close(); err == nil {
		t.Error("it was not refused")
	}
	if last := looks[len(looks)-1]; len(looks) != len(modes)+1 || !inside[len(inside)-1] || last.Statements[0].Estimated != nil {
		t.Errorf("in a pipeline: %s", told(last))
	}
}
