package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// denyAll denies all but what the guard itself lets pass unread.
func denyAll(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
	if op.Kind == operation.Unread {
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
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
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	var why []string
	for _, op := range p.guard.seen {
		if op.Kind == operation.Unread {
			why = append(why, op.Unread)
		}
	}
	if len(why) != 1 || why[0] != protocol.Encrypted {
		t.Errorf("not read: %q", why)
	}
}

// TestObserveRelaysWhatIsNotUnderstood: a client that speaks something else gets
// what the server says to it.
func TestObserveRelaysWhatIsNotUnderstood(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{observe: true, decide: denyAll})
	for _, said := range []string{"\x00\x00\x00\x02\x00\x03\x00\x00", "GET / HTTP/1.1\r\nHost: example\r\n\r\n", "\x00\x00\x00\x09\x00\x09\x00\x00\x00"} {
		var heard [2]string
		for i, port := range []int{s.port, p.port} {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(conn, said); err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(conn)
			if err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Error(err)
			}
			heard[i] = string(all)
			_ = conn.Close()
		}
		if heard[0] != heard[1] {
			t.Errorf("%q: direct %q, through the plug-in %q", said, heard[0], heard[1])
		}
	}
}
