package postgres_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// TestPgSettingsSetsNothingUnseen: an UPDATE of pg_settings, or of a view of it,
// sets parameters. One of them, in a pipeline, made a string of what was code: a
// rule read the text behind it as a SELECT, and the server as a DELETE.
func TestPgSettingsSetsNothingUnseen(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	setUp(t, s, "CREATE VIEW knobs AS SELECT name AS n, setting AS s FROM pg_settings", "GRANT ALL ON knobs TO app")
	t.Cleanup(func() { setUp(t, s, "DROP VIEW knobs") })
	const disguised = `WITH a AS (SELECT '\' AS x, '), b AS (DELETE FROM orders RETURNING 1) SELECT 1 FROM b --' AS y) SELECT 1 FROM a`
	deletes := func(s operation.SQLStatement) bool { return s.Kind == "DELETE" }
	for name, set := range map[string]func(name, value string) string{
		"pg_settings": func(name, value string) string {
			return "UPDATE pg_settings SET setting = '" + value + "' WHERE name = '" + name + "'"
		},
		"a view": func(name, value string) string {
			return "UPDATE knobs SET s = '" + value + "' WHERE n = '" + name + "'"
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, s, proxyOptions{sqlRules: true, decide: func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
				if op.SQL != nil && slices.ContainsFunc(op.SQL.Statements, deletes) {
					return protocol.Decision{Rule: "no-deletes"}, nil
				}
				return protocol.Decision{Effect: protocol.Allow}, nil
			}})
			ctx := context.Background()
			conn := p.connect(t, pgx.QueryExecModeExec)
			batch := &pgx.Batch{}
			batch.Queue(set("standard_conforming_strings", "off"))
			batch.Queue(disguised)
			wantState(t, conn.SendBatch(ctx, batch).Close(), "42501")
			if rows, err := s.queryIn("shop", "SELECT count(*) FROM orders"); err != nil || rows != "20\n" {
				t.Errorf("%q orders are left, %v", rows, err)
			}
			masked := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
			batch = &pgx.Batch{}
			batch.Queue(set("standard_conforming_strings", "off"))
			batch.Queue(`SELECT '\' AS x, ', email||'' FROM customers --' AS y FROM orders`)
			_ = masked.connect(t, pgx.QueryExecModeExec).SendBatch(ctx, batch).Close() // refused, or nothing of it is shown
			if found := leaked(masked.received(), ""); found != "" {
				t.Errorf("the client received %s", found)
			}
			conn = p.connect(t, pgx.QueryExecModeSimpleProtocol)
			for _, statement := range []string{set("search_path", "elsewhere"), "SELECT total FROM public.orders"} {
				if _, err := conn.Exec(ctx, statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			seen := p.guard.seen
			if path := seen[len(seen)-1].Context.SearchPath; path != "elsewhere" {
				t.Errorf("a statement is judged under the search_path %s", path)
			}
			if set := seen[len(seen)-2]; set.ReadOnly || !set.SQL.Statements[0].Opaque {
				t.Errorf("what sets it is seen as %+v", set.SQL.Statements)
			}
		})
	}
}

// TestEndOfATransactionSetsNothingUnseen: ROLLBACK, and COMMIT behind SET LOCAL, take
// back how text is read. What follows in their pipeline was read as before.
func TestEndOfATransactionSetsNothingUnseen(t *testing.T) {
	s := realServer(t)
	const disguised = `WITH a AS (SELECT '\'), b AS (DELETE FROM orders RETURNING 1) SELECT 1 FROM b --' AS y) SELECT 1 FROM a`
	p := startProxy(t, s, proxyOptions{sqlRules: true, decide: func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		if op.SQL != nil && slices.ContainsFunc(op.SQL.Statements, func(s operation.SQLStatement) bool { return s.Kind == "DELETE" }) {
			return protocol.Decision{Rule: "no-deletes"}, nil
		}
		return protocol.Decision{Effect: protocol.Allow}, nil
	}})
	const off = "SET standard_conforming_strings = off"
	for _, texts := range [][]string{
		{"BEGIN", off, "ROLLBACK"},
		{"BEGIN", "SET LOCAL standard_conforming_strings = off", "COMMIT"},
		{"BEGIN", "SAVEPOINT a", off, "ROLLBACK TO a"},
		{"BEGIN", "SELECT set_config('standard_conforming_strings', 'off', true)", "COMMIT"},
	} {
		customers(t, s)
		ctx := context.Background()
		conn := p.connect(t, pgx.QueryExecModeExec)
		batch := &pgx.Batch{}
		for i, text := range texts {
			if i == len(texts)-1 {
				batch.Queue(text)
			} else if _, err := conn.Exec(ctx, text); err != nil {
				t.Fatal(err)
			}
		}
		batch.Queue(disguised)
		if err := conn.SendBatch(ctx, batch).Close(); err == nil {
			t.Errorf("%q: no error", texts)
		}
		_, _ = conn.Exec(ctx, "COMMIT") // where it still runs
		if rows, err := s.queryIn("shop", "SELECT count(*) FROM orders"); err != nil || rows != "20\n" {
			t.Errorf("%q: %q orders are left, %v", texts, rows, err)
		}
	}
	conn := p.connect(t, pgx.QueryExecModeExec) // what sets nothing takes nothing back
	batch := &pgx.Batch{}
	for _, text := range []string{"BEGIN", "SELECT 1", "ROLLBACK", "BEGIN", "SET LOCAL work_mem = '1MB'", "COMMIT", "SELECT 2"} {
		batch.Queue(text)
	}
	if err := conn.SendBatch(context.Background(), batch).Close(); err != nil {
		t.Error(err)
	}
}
