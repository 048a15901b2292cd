package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// denyText denies every statement that holds a word.
func denyText(word string) func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
	return func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		if op.Kind == operation.Statement && bytes.Contains(op.Text.Reveal(), []byte(word)) {
			return protocol.Decision{Rule: "never-drop", Reason: "Not for pipelines."}, nil
		}
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
}

func setUp(t testing.TB, s *server, statements ...string) {
	t.Helper()
	if err := s.sql("shop", statements...); err != nil {
		t.Fatal(err)
	}
}

func TestDeniedStatementKeepsSessionOpen(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS kept", "CREATE TABLE kept (a int)", "GRANT ALL ON kept TO app", "ALTER TABLE kept OWNER TO app")
	p := startProxy(t, s, proxyOptions{decide: denyText("DROP")})
	out, errs, code := p.psql(t, "-At", "-c", "DROP TABLE kept", "-c", "SELECT count(*) FROM kept")
	if code != 0 || out != "0\n" || !strings.Contains(errs, `ERROR:  sluice: refused by rule "never-drop": Not for pipelines.`) {
		t.Fatalf("psql exited %d with %q, %q", code, out, errs)
	}
}

func TestDeniedStatementFailsItsTransaction(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS journal", "CREATE TABLE journal (a int)", "ALTER TABLE journal OWNER TO app")
	p := startProxy(t, s, proxyOptions{decide: denyText("DROP")})
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			ctx := context.Background()
			conn := p.connect(t, mode)
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(ctx, "INSERT INTO journal VALUES (1)"); err != nil {
				t.Fatal(err)
			}
			_, err = tx.Exec(ctx, "DROP TABLE journal")
			wantState(t, err, "42501")
			if status := conn.PgConn().TxStatus(); status != 'E' {
				t.Fatalf("the client believes the transaction is in %q", status)
			}
			_, err = tx.Exec(ctx, "SELECT 1")
			wantState(t, err, "25P02")
			if err := tx.Commit(ctx); !errors.Is(err, pgx.ErrTxCommitRollback) {
				t.Fatalf("commit gave %v", err)
			}
			wantCount(t, conn, "journal", 0)
		})
	}
}

func TestDeniedStatementFailsItsPipeline(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS piped", "CREATE TABLE piped (a int)", "ALTER TABLE piped OWNER TO app")
	p := startProxy(t, s, proxyOptions{decide: denyText("333")})
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			ctx := context.Background()
			conn := p.connect(t, mode)
			batch := &pgx.Batch{}
			batch.Queue("INSERT INTO piped VALUES (1)")
			batch.Queue("INSERT INTO piped VALUES (333)")
			batch.Queue("INSERT INTO piped VALUES (2)")
			wantState(t, conn.SendBatch(ctx, batch).Close(), "42501")
			wantCount(t, conn, "piped", 0)
			if status := conn.PgConn().TxStatus(); status != 'I' {
				t.Fatalf("the client believes the session is in %q", status)
			}
		})
	}
}

func wantState(t testing.TB, err error, state string) {
	t.Helper()
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != state {
		t.Fatalf("got %v, want SQLSTATE %s", err, state)
	}
}

func wantCount(t testing.TB, conn *pgx.Conn, table string, want int) {
	t.Helper()
	var n int
	if err := conn.QueryRow(context.Background(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != want {
		t.Fatalf("%s has %d rows, want %d", table, n, want)
	}
}

// hold waits for an answer like the guard does for a person's.
func hold(word string, answer <-chan protocol.Decision, waits chan<- struct{}) func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
	return func(ctx context.Context, op *operation.Operation, waiting func(protocol.Waiting)) (protocol.Decision, error) {
		if op.Kind != operation.Statement || !bytes.Contains(op.Text.Reveal(), []byte(word)) {
			return protocol.Decision{Effect: protocol.Allow}, nil
		}
		waiting(protocol.Waiting{Approval: 12, Rule: "ddl", Reason: "A person must agree.", Link: "https://sluice.example/12"})
		waits <- struct{}{}
		select {
		case d := <-answer:
			return d, nil
		case <-ctx.Done():
			return protocol.Decision{}, ctx.Err()
		}
	}
}

func TestHeldStatementRunsOnceApproved(t *testing.T) {
	answer, waits := make(chan protocol.Decision, 1), make(chan struct{}, 1)
	p := startProxy(t, realServer(t), proxyOptions{decide: hold("held", answer, waits)})
	for _, test := range []struct {
		name   string
		answer protocol.Decision
		out    string
		errs   string
	}{
		{"approved", protocol.Decision{Effect: protocol.Allow, Approval: 12, Decider: "ann"}, "held\n", "NOTICE:  sluice: approval #12: approved by ann\n"},
		{
			"denied",
			protocol.Decision{Rule: "ddl", Approval: 12, Decider: "ann", Reason: "not today"},
			"",
			"ERROR:  sluice: refused by rule \"ddl\", approval #12, decided by ann: not today\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer <- test.answer
			out, errs, _ := p.psql(t, "-At", "-c", "SELECT 'held'")
			<-waits
			notice := "NOTICE:  sluice: waiting for approval #12 by rule \"ddl\": A person must agree. (decide at https://sluice.example/12)\n"
			if out != test.out || errs != notice+test.errs {
				t.Fatalf("psql said %q, %q", out, errs)
			}
		})
	}
}

func TestCancelWithdrawsHold(t *testing.T) {
	waits := make(chan struct{}, 1)
	p := startProxy(t, realServer(t), proxyOptions{decide: hold("held", nil, waits)})
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			conn := p.connect(t, mode)
			go func() {
				<-waits
				if err := conn.PgConn().CancelRequest(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			_, err := conn.Exec(context.Background(), "SELECT 'held'")
			wantState(t, err, "57014")
			if _, err := conn.Exec(context.Background(), "SELECT 1"); err != nil {
				t.Fatalf("after the cancel: %v", err)
			}
		})
	}
}

func TestClientThatLeavesEndsItsHold(t *testing.T) {
	waits := make(chan struct{}, 1)
	p := startProxy(t, realServer(t), proxyOptions{decide: hold("held", nil, waits)})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	go func() {
		<-waits
		_ = conn.PgConn().Conn().Close() // as if the job died
	}()
	if _, err := conn.Exec(context.Background(), "SELECT 'held'"); err == nil {
		t.Fatal("a statement of a closed session succeeded")
	}
	select {
	case err := <-p.errs:
		if err != nil {
			t.Fatalf("the session ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the session did not end")
	}
}

func TestCancelReachesTheServer(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	wantCancelled(t, p.connect(t, pgx.QueryExecModeSimpleProtocol))
}

// wantCancelled runs a long statement and cancels it.
func wantCancelled(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(60)")
		done <- err
	}()
	deadline := time.After(20 * time.Second)
	for {
		if err := conn.PgConn().CancelRequest(context.Background()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			wantState(t, err, "57014")
			return
		case <-deadline:
			t.Fatal("the statement was not cancelled")
		case <-time.After(50 * time.Millisecond): // it may not have begun
		}
	}
}

func TestDeniedLoginReachesNoServer(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{
		decide: func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
			return protocol.Decision{Rule: "nobody"}, nil
		},
	})
	_, errs, code := p.psql(t, "-c", "SELECT 1")
	if code != 2 || !strings.Contains(errs, `FATAL:  sluice: refused by rule "nobody"`) {
		t.Fatalf("psql exited %d with %q", code, errs)
	}
}
