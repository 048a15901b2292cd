package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// orders are five orders with ten lines each, which go with them, a log that a
// trigger writes two rows of for each order that changes, and views and
// partitions in front of them. Statements may change so many rows.
func orders(t testing.TB, most int64) (*server, *proxy) {
	t.Helper()
	s := realServer(t)
	setUp(t, s, "DROP SCHEMA IF EXISTS ord CASCADE", "CREATE SCHEMA ord AUTHORIZATION app", "SET ROLE app", "SET search_path = ord",
		"CREATE TABLE orders (a int PRIMARY KEY, b int DEFAULT 0)",
		"CREATE TABLE lines (a int REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE, b int)",
		"CREATE TABLE parts (a int REFERENCES orders DEFERRABLE INITIALLY DEFERRED)",
		"CREATE TABLE log (a int)",
		"INSERT INTO orders SELECT generate_series(1, 5)", "INSERT INTO lines SELECT 1 + i % 5, i FROM generate_series(1, 50) i",
		"CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ord.log VALUES (1), (2); RETURN NULL; END $$",
		"CREATE TRIGGER noted AFTER UPDATE OF b ON orders FOR EACH ROW EXECUTE FUNCTION noted()",
		"CREATE TABLE late (a int)",
		"CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ord.log SELECT generate_series(1, 100); RETURN NULL; END $$",
		"CREATE CONSTRAINT TRIGGER later AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later()",
		"CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$",
		"CREATE VIEW seen AS SELECT a FROM orders",
		"CREATE TABLE days (a int, b text) PARTITION BY RANGE (a)",
		"CREATE TABLE day1 PARTITION OF days FOR VALUES FROM (0) TO (100)", "CREATE TABLE day2 PARTITION OF days FOR VALUES FROM (100) TO (200)",
		"INSERT INTO days SELECT i FROM generate_series(0, 9) i",
		"CREATE TABLE ruled (a int)", "CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO ord.log SELECT generate_series(1, 20)",
		"RESET ROLE")
	return s, startProxy(t, s, proxyOptions{decide: limitChanges(most), sqlRules: true})
}

// limitChanges lets statements that change rows by their own words change so many.
func limitChanges(most int64) func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
	return func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		d := protocol.Decision{Effect: protocol.Allow}
		if op.SQL != nil && slices.ContainsFunc(op.SQL.Statements, func(s operation.SQLStatement) bool {
			return slices.Contains([]string{"INSERT", "UPDATE", "DELETE", "MERGE"}, s.Kind)
		}) {
			d.Limit = &protocol.RowLimit{Rows: most, Rule: "few-rows", Reason: "Ask first."}
		}
		return d, nil
	}
}

// wantRefused checks that a statement was refused because of so many rows.
func wantRefused(t *testing.T, err error, rows int) {
	t.Helper()
	wantState(t, err, "42501")
	if want := fmt.Sprintf(`refused by rule "few-rows": it changed %d rows`, rows); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestRowsThatTheTagDoesNotTellAreCounted changes more than ten rows by
// statements that name fewer.
func TestRowsThatTheTagDoesNotTellAreCounted(t *testing.T) {
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			s, p := orders(t, 10)
			conn := p.connect(t, mode)
			before := ordered(t, s)
			for statement, rows := range map[string]int{
				"DELETE FROM ord.orders WHERE a = 1":                                                    11,
				"UPDATE ord.orders SET a = 9 WHERE a = 1":                                               11,
				"UPDATE ord.orders SET b = b + 1 WHERE a < 5":                                           12,
				"UPDATE ord.days SET a = a + 100 WHERE a < 6":                                           12, // from one partition to another
				"INSERT INTO ord.ruled VALUES (1)":                                                      21,
				"DELETE FROM ord.seen WHERE a = 1":                                                      11,
				"MERGE INTO ord.orders o USING (SELECT 1 AS a) s ON o.a = s.a WHEN MATCHED THEN DELETE": 11,
				"INSERT INTO ord.orders VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 9":                 11,
			} {
				_, err := conn.Exec(context.Background(), statement)
				t.Run(statement, func(t *testing.T) { wantRefused(t, err, rows) })
				if status := conn.PgConn().TxStatus(); status != 'I' {
					t.Errorf("the client believes the session is in %q", status)
				}
			}
			if after := ordered(t, s); after != before {
				t.Errorf("the server has %s, and had %s", after, before)
			}
			for _, statement := range []string{
				"DELETE FROM ord.lines WHERE b <= 10", "UPDATE ord.orders SET b = b + 1 WHERE a < 4", "DELETE FROM ord.orders WHERE a = 1",
				"UPDATE ord.days SET a = a + 100 WHERE a < 5", "INSERT INTO ord.orders SELECT generate_series(10, 19)",
			} {
				if _, err := conn.Exec(context.Background(), statement); err != nil {
					t.Errorf("%s: %v", statement, err)
				}
			}
		})
	}
}

// ordered is how many rows the server has of each.
func ordered(t *testing.T, s *server) string {
	t.Helper()
	got, err := s.queryIn("shop", `SELECT (SELECT count(*) FROM ord.orders), (SELECT sum(a) FROM ord.orders), (SELECT count(*) FROM ord.lines),
		(SELECT count(*) FROM ord.log), (SELECT count(*) FROM ord.late), (SELECT count(*) FROM ord.ruled), (SELECT sum(a) FROM ord.days)`)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestLimitIsOfTheWholeTransaction changes rows one at a time.
func TestLimitIsOfTheWholeTransaction(t *testing.T) {
	ctx := context.Background()
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			s, p := orders(t, 10)
			conn := p.connect(t, mode)
			for round := range 2 { // the next transaction begins anew
				tx, err := conn.Begin(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for i := range 10 {
					if _, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM ord.lines WHERE b = %d", 1+i+10*round)); err != nil {
						t.Fatal(err)
					}
					if _, err := tx.Exec(ctx, "SELECT 1"); err != nil {
						t.Fatal(err)
					}
				}
				if round == 0 {
					if err := tx.Commit(ctx); err != nil {
						t.Fatal(err)
					}
					continue
				}
				_, err = tx.Exec(ctx, "DELETE FROM ord.lines WHERE b = 50")
				wantState(t, err, "42501")
				if want := "it changed 1 rows, after 10 in this transaction, which together is more than 10, and was undone"; err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v", err)
				}
				_ = tx.Rollback(ctx)
			}
			if got := ordered(t, s); !strings.HasPrefix(got, "5|15|40|") {
				t.Errorf("the server has %s", got)
			}
			batch := &pgx.Batch{}
			for i := range 11 {
				batch.Queue(fmt.Sprintf("DELETE FROM ord.lines WHERE b = %d", 30+i))
			}
			wantState(t, conn.SendBatch(ctx, batch).Close(), "42501")
			if got := ordered(t, s); !strings.HasPrefix(got, "5|15|40|") {
				t.Errorf("after a pipeline the server has %s", got)
			}
		})
	}
}

func TestChainedTransactionBeginsAnew(t *testing.T) {
	s, p := orders(t, 10)
	var args []string
	for i := range 3 {
		args = append(args, "-c", fmt.Sprintf("DELETE FROM ord.lines WHERE b BETWEEN %d AND %d", 1+10*i, 10+10*i), "-c", "COMMIT AND CHAIN")
	}
	if _, errs, _ := p.psql(t, append([]string{"-c", "BEGIN"}, args...)...); errs != "" {
		t.Errorf("got %q", errs)
	}
	if got := ordered(t, s); !strings.HasPrefix(got, "5|15|20|") {
		t.Errorf("the server has %s", got)
	}
}

// TestNobodyGetsRoundTheCount are ways to have the server count less than it
// changed, for who may not create triggers.
func TestNobodyGetsRoundTheCount(t *testing.T) {
	s, p := orders(t, 10)
	setUp(t, s, "DROP SCHEMA IF EXISTS fool CASCADE", "CREATE SCHEMA fool AUTHORIZATION app", "SET ROLE app",
		"CREATE FUNCTION fool.nothing(bigint, bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT 0::bigint'",
		"CREATE OPERATOR fool.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = fool.nothing)",
		"CREATE FUNCTION fool.never(bigint, bigint) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false'",
		"CREATE OPERATOR fool.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = fool.never)",
		"CREATE FUNCTION fool.pg_stat_get_xact_tuples_deleted(oid) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
		"CREATE TABLE fool.pg_class (oid oid, relkind \"char\")", "RESET ROLE", "GRANT EXECUTE ON FUNCTION pg_stat_reset() TO app")
	defer setUp(t, s, "DROP SCHEMA fool CASCADE")
	const delete = "DELETE FROM ord.orders WHERE a = 1"
	before := ordered(t, s)
	for _, statements := range [][]string{
		{"SET search_path = fool, ord, pg_catalog", delete},
		{"SELECT pg_catalog.set_config('search_path', 'fool, pg_catalog', false)", "BEGIN", delete, "COMMIT"},
		{"BEGIN", "SELECT pg_stat_reset()", delete, "SELECT pg_stat_reset()", "COMMIT"},
		{"BEGIN", "SELECT pg_stat_clear_snapshot()", "SET LOCAL stats_fetch_consistency = snapshot", delete, "COMMIT"},
		{"BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT count(*) FROM pg_stat_xact_all_tables", delete, "COMMIT"},
		{"BEGIN", "SAVEPOINT s", delete, "RELEASE s", "COMMIT"},
		{"BEGIN", "INSERT INTO ord.lines SELECT 2, i FROM generate_series(60, 69) i", "SAVEPOINT s", "ROLLBACK TO s", "DELETE FROM ord.lines WHERE b = 1", "COMMIT"},
		{"BEGIN", "CREATE TEMP TABLE scratch (a int)", "INSERT INTO scratch VALUES (1), (2), (3), (4), (5), (6)", "DROP TABLE scratch", delete, "COMMIT"},
		{"DELETE FROM ord.orders WHERE a = 1 RETURNING a"},
		{"DELETE FROM ord.lines WHERE b <= 10; DELETE FROM ord.lines WHERE b = 11"},
		{"BEGIN", delete, "PREPARE TRANSACTION 'x'"},
		{"SET session_replication_role = replica", delete}, // may not
		{"SET track_counts = off", delete},                 // may not
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
			if after := ordered(t, s); after != before {
				t.Errorf("the server has %s, and had %s", after, before)
			}
		})
	}
}

// TestServerThatDoesNotCountIsRefused has a superuser switch counting off.
func TestServerThatDoesNotCountIsRefused(t *testing.T) {
	s, p := orders(t, 10)
	setUp(t, s, "ALTER ROLE app SET track_counts = off")
	defer setUp(t, s, "ALTER ROLE app RESET track_counts")
	before := ordered(t, s)
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			conn := p.connect(t, mode)
			ctx := context.Background()
			for range 2 {
				_, err := conn.Exec(ctx, "DELETE FROM ord.lines WHERE b = 1")
				wantState(t, err, "42501")
				if err == nil || !strings.Contains(err.Error(), "the server does not count them") || conn.PgConn().TxStatus() != 'I' {
					t.Errorf("got %v in %q", err, conn.PgConn().TxStatus())
				}
			}
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tx.Exec(ctx, "DELETE FROM ord.lines WHERE b = 1")
			wantState(t, err, "42501")
			if status := conn.PgConn().TxStatus(); status != 'E' {
				t.Errorf("the client believes the transaction is in %q", status)
			}
			_ = tx.Rollback(ctx)
		})
	}
	if after := ordered(t, s); after != before {
		t.Errorf("the server has %s, and had %s", after, before)
	}
}

// TestCountThatFailsRefuses takes away from the job what counts.
func TestCountThatFailsRefuses(t *testing.T) {
	s, p := orders(t, 10)
	setUp(t, s, "REVOKE EXECUTE ON FUNCTION pg_stat_get_xact_tuples_deleted(oid) FROM PUBLIC")
	defer setUp(t, s, "GRANT EXECUTE ON FUNCTION pg_stat_get_xact_tuples_deleted(oid) TO PUBLIC")
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			conn := p.connect(t, mode)
			ctx := context.Background()
			_, err := conn.Exec(ctx, "DELETE FROM ord.lines WHERE b = 1")
			if err == nil || !strings.Contains(err.Error(), "the server does not count them") || conn.PgConn().TxStatus() != 'I' {
				t.Errorf("got %v in %q", err, conn.PgConn().TxStatus())
			}
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tx.Exec(ctx, "DELETE FROM ord.lines WHERE b = 1")
			if err == nil || !strings.Contains(err.Error(), "the server does not count them") || conn.PgConn().TxStatus() != 'E' {
				t.Errorf("in a transaction: %v in %q", err, conn.PgConn().TxStatus())
			}
			_ = tx.Rollback(ctx)
		})
	}
}
