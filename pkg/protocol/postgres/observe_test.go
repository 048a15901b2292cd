package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

func denyAll(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
	return protocol.Decision{Rule: "nothing"}, nil
}

// TestObserveChangesNothing: not even a guard that denies everything, nor
// masks, change a byte; the client logs in by itself.
func TestObserveChangesNothing(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS d", "CREATE TABLE d (a int PRIMARY KEY, b text)", "ALTER TABLE d OWNER TO app")
	p := startProxy(t, s, proxyOptions{observe: true, decide: denyAll, masks: customerMasks, sqlRules: true, user: "nobody", password: "none"})
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			direct := overheard(t, s.port, "app", "app-secret", mode)
			through := overheard(t, p.port, "app", "app-secret", mode)
			if !bytes.Equal(direct, through) {
				t.Fatalf("%d bytes through the plug-in, %d direct", len(through), len(direct))
			}
		})
	}
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	if len(p.guard.seen) < 200 {
		t.Errorf("only %d operations were recorded", len(p.guard.seen))
	}
	for _, op := range p.guard.seen {
		if bytes.Contains(op.Text.Reveal(), []byte("app-secret")) {
			t.Errorf("operation %d holds the password", op.ID)
		}
	}
}

func TestObserveRelaysEncryptionAndCancel(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{observe: true, decide: denyAll})
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://app:app-secret@127.0.0.1:%d/shop?sslmode=require", p.port))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var encrypted bool
	err = conn.QueryRow(ctx, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&encrypted)
	if err != nil || !encrypted {
		t.Fatalf("encrypted %v, %v", encrypted, err)
	}
	plain := p.connectAs(t, "app", "app-secret", pgx.QueryExecModeSimpleProtocol)
	wantCancelled(t, plain)
}
