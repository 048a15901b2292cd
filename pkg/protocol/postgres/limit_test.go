package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// limitWrites lets each statement that is not proven to read change so many
// rows.
func limitWrites(rows int64) func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
	return func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		d := protocol.Decision{Effect: protocol.Allow}
		if op.Kind == operation.Statement && !op.ReadOnly {
			d.Limit = &protocol.RowLimit{Rows: rows, Rule: "few-rows", Reason: "Ask first."}
		}
		return d, nil
	}
}

// stock is a table of five rows, and one that refers to it at commit.
func stock(t testing.TB) (*server, *proxy) {
	t.Helper()
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS parts, stock", "CREATE TABLE stock (a int PRIMARY KEY)",
		"CREATE TABLE parts (a int REFERENCES stock DEFERRABLE INITIALLY DEFERRED)",
		"INSERT INTO stock SELECT generate_series(1, 5)", "ALTER TABLE stock OWNER TO app", "ALTER TABLE parts OWNER TO app")
	return s, startProxy(t, s, proxyOptions{decide: limitWrites(2), sqlRules: true})
}

func TestStatementOverTheLimitIsUndone(t *testing.T) {
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			_, p := stock(t)
			ctx := context.Background()
			conn := p.connect(t, mode)
			_, err := conn.Exec(ctx, "DELETE FROM stock WHERE a > 2")
			wantState(t, err, "42501")
			if want := `refused by rule "few-rows": it changed 3 rows, which is more than 2, and was undone: Ask first.`; !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
			if status := conn.PgConn().TxStatus(); status != 'I' {
				t.Errorf("the client believes the session is in %q", status)
			}
			wantCount(t, conn, "stock", 5)
			tag, err := conn.Exec(ctx, "DELETE FROM stock WHERE a > 3")
			if err != nil || tag.RowsAffected() != 2 {
				t.Errorf("within the limit: %v, %v", tag, err)
			}
			wantCount(t, p.connect(t, mode), "stock", 3) // it is committed
		})
	}
}

func TestTransactionOfAStatementOverTheLimitFails(t *testing.T) {
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			_, p := stock(t)
			ctx := context.Background()
			conn := p.connect(t, mode)
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(ctx, "INSERT INTO stock VALUES (6), (7)"); err != nil {
				t.Fatal(err)
			}
			_, err = tx.Exec(ctx, "UPDATE stock SET a = -a")
			wantState(t, err, "42501")
			if status := conn.PgConn().TxStatus(); status != 'E' {
				t.Errorf("the client believes the transaction is in %q", status)
			}
			_, err = tx.Exec(ctx, "SELECT 1")
			wantState(t, err, "25P02")
			_ = tx.Rollback(ctx)
			wantCount(t, conn, "stock", 5)
		})
	}
}

func TestPipelineWithAStatementOverTheLimitIsUndone(t *testing.T) {
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			_, p := stock(t)
			conn := p.connect(t, mode)
			batch := &pgx.Batch{}
			batch.Queue("INSERT INTO stock VALUES (6)")
			batch.Queue("SELECT a FROM stock")
			batch.Queue("DELETE FROM stock WHERE a > 2")
			batch.Queue("INSERT INTO stock VALUES (8)")
			wantState(t, conn.SendBatch(context.Background(), batch).Close(), "42501")
			wantCount(t, conn, "stock", 5)
			within := &pgx.Batch{}
			within.Queue("INSERT INTO stock VALUES (6)")
			within.Queue("DELETE FROM stock WHERE a = 1")
			if err := conn.SendBatch(context.Background(), within).Close(); err != nil {
				t.Fatal(err)
			}
			wantCount(t, p.connect(t, mode), "stock", 5)
		})
	}
}

// What fails at the statement or at its commit fails for the client as it does
// directly.
func TestErrorOfALimitedStatementIsTheServers(t *testing.T) {
	_, p := stock(t)
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			conn := p.connect(t, mode)
			for statement, state := range map[string]string{
				"INSERT INTO stock VALUES (1)": "23505", "INSERT INTO parts VALUES (99)": "23503",
			} {
				_, err := conn.Exec(context.Background(), statement)
				wantState(t, err, state)
				if status := conn.PgConn().TxStatus(); status != 'I' {
					t.Errorf("after %s the client believes the session is in %q", statement, status)
				}
			}
			wantCount(t, conn, "parts", 0)
		})
	}
}

func TestRowsOfCOPYAreCounted(t *testing.T) {
	for _, mode := range execModes[3:] {
		t.Run(mode.String(), func(t *testing.T) {
			_, p := stock(t)
			conn := p.connect(t, mode)
			copyIn := func(text string) error {
				_, err := conn.PgConn().CopyFrom(context.Background(), strings.NewReader(text), "COPY stock FROM STDIN")
				return err
			}
			wantState(t, copyIn("6\n7\n8\n"), "42501")
			wantCount(t, conn, "stock", 5)
			if err := copyIn("6\n7\n"); err != nil {
				t.Fatal(err)
			}
			wantCount(t, p.connect(t, mode), "stock", 7)
			_, err := conn.CopyFrom(context.Background(), pgx.Identifier{"stock"}, []string{"a"}, pgx.CopyFromRows([][]any{{10}, {11}, {12}}))
			wantState(t, err, "42501")
			wantCount(t, conn, "stock", 7)
		})
	}
}

// Each is a way to change all five rows that the tag would not tell, or not
// before they are committed.
func TestNobodyGetsRoundTheLimit(t *testing.T) {
	s, p := stock(t)
	for _, statements := range [][]string{
		{"WITH d AS (DELETE FROM stock RETURNING a) SELECT count(*) FROM d"},
		{"WITH d AS (DELETE FROM stock RETURNING a) INSERT INTO stock SELECT 7 FROM d LIMIT 1"},
		{"EXPLAIN ANALYZE DELETE FROM stock"},
		{"PREPARE d AS DELETE FROM stock", "EXECUTE d"},
		{"DO $$ BEGIN DELETE FROM stock; END $$"},
		{"TRUNCATE stock CASCADE"},
		{"DELETE FROM stock; COMMIT"},
		{"BEGIN; DELETE FROM stock; COMMIT"},
		{"DELETE FROM stock WHERE a = 1; DELETE FROM stock"},
		{"DELETE FROM stock; SELECT 1"},
		{"DELETE FROM stock; COPY stock TO STDOUT"},
		{"SELECT 1; DELETE FROM stock"},
		{"DELETE FROM stock RETURNING a"},
		{"MERGE INTO stock USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE"},
		{"BEGIN", "DELETE FROM stock", "COMMIT"},
		{"BEGIN", "SAVEPOINT s", "DELETE FROM stock", "RELEASE s", "COMMIT"},
	} {
		t.Run(strings.Join(statements, "; "), func(t *testing.T) {
			args := []string{"-At"}
			for _, statement := range statements {
				args = append(args, "-c", statement)
			}
			_, errs, _ := p.psql(t, args...)
			if !strings.Contains(errs, `refused by rule "few-rows"`) {
				t.Errorf("got %q", errs)
			}
			wantStock(t, s, 5)
		})
	}
}

// wantStock asks the server itself.
func wantStock(t testing.TB, s *server, want int) {
	t.Helper()
	got, err := s.queryIn("shop", "SELECT count(*) FROM stock")
	if err != nil || got != fmt.Sprintln(want) {
		t.Fatalf("the server has %q rows, %v; want %d", got, err, want)
	}
}

func TestMessagesDoNotGetRoundTheLimit(t *testing.T) {
	execute := func(rows uint32) []pgproto3.FrontendMessage {
		return []pgproto3.FrontendMessage{
			&pgproto3.Parse{Query: "DELETE FROM stock RETURNING a"}, &pgproto3.Bind{}, &pgproto3.Execute{MaxRows: rows},
		}
	}
	query := &pgproto3.Query{String: "DELETE FROM stock"}
	pipeline := []pgproto3.FrontendMessage{&pgproto3.Parse{Query: "SELECT 1"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}}
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"a portal that is not read to its end": append(execute(1), &pgproto3.Sync{}),
		"a portal that is read in pieces":      append(execute(1), &pgproto3.Execute{MaxRows: 1}, &pgproto3.Execute{}, &pgproto3.Sync{}),
		"a portal that is closed":              append(execute(1), &pgproto3.Close{ObjectType: 'P'}, &pgproto3.Sync{}),
		"an Execute and the end":               append(execute(0), &pgproto3.Sync{}, &pgproto3.Terminate{}),
		"a Query behind an Execute":            append(execute(0), &pgproto3.Query{String: "COMMIT"}, &pgproto3.Sync{}),
		"a pipeline behind a Query":            append([]pgproto3.FrontendMessage{query}, pipeline...),
		"a COMMIT behind a Query": append([]pgproto3.FrontendMessage{query, &pgproto3.Parse{Query: "COMMIT"}}, &pgproto3.Bind{},
			&pgproto3.Execute{}, &pgproto3.Sync{}),
		"a Query and the end": {query, &pgproto3.Terminate{}},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := stock(t)
			front := p.connect(t, pgx.QueryExecModeSimpleProtocol).PgConn().Frontend()
			for _, m := range messages {
				front.Send(m)
			}
			if err := front.Flush(); err != nil {
				t.Fatal(err)
			}
			refused := false
			for !refused {
				m, err := front.Receive()
				if err != nil {
					break
				}
				e, failed := m.(*pgproto3.ErrorResponse)
				refused = failed && strings.Contains(e.Message, `refused by rule "few-rows"`)
			}
			if !refused {
				t.Error("nobody said that it is refused")
			}
			wantStock(t, s, 5)
		})
	}
}

func TestLimitLeavesOtherStatementsAlone(t *testing.T) {
	s, p := stock(t)
	script := filepath.Join(t.TempDir(), "script.sql")
	text := "SELECT count(*) FROM stock;\nBEGIN;\nUPDATE stock SET a = 9 WHERE a = 5;\nCOMMIT;\nSET search_path = public;\n" +
		"EXPLAIN (COSTS off) DELETE FROM stock;\nCOPY stock TO STDOUT;\nINSERT INTO stock VALUES (6) RETURNING a;\nDELETE FROM stock WHERE a = 6 \\; SELECT 'done';\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := p.psql(t, "-At", "-f", script)
	want := "5\nBEGIN\nUPDATE 1\nCOMMIT\nSET\nDelete on stock\n  ->  Seq Scan on stock\n1\n2\n3\n4\n9\n6\nINSERT 0 1\nDELETE 1\ndone\n"
	if out != want || errs != "" || code != 0 {
		t.Errorf("psql exited %d with %q, %q; want %q", code, out, errs, want)
	}
	wantStock(t, s, 5)
}
