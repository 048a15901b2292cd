package sqltext_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// lockCases are statements and the locks that they take on the relations of
// lockSetup that they change or define something of.
var lockCases = []string{
	"INSERT INTO t VALUES (9)", "UPDATE t SET id = id", "DELETE FROM t", "TRUNCATE t CASCADE",
	"MERGE INTO t USING r ON t.id = r.id WHEN MATCHED THEN DELETE", "COPY t FROM '/dev/null'",
	"DROP TABLE plain", "DROP INDEX plain_i", "DROP VIEW v", "DROP TRIGGER g ON plain", "DROP RULE ru ON plain", "DROP POLICY po ON plain",
	"CREATE INDEX x ON t (id)", "CREATE TRIGGER h BEFORE INSERT ON t EXECUTE FUNCTION nothing()", "CREATE RULE ru AS ON DELETE TO t DO ALSO NOTHING",
	"CREATE POLICY po ON t", "CREATE STATISTICS st ON id, x FROM wide", "CREATE OR REPLACE VIEW v AS SELECT 1 AS one",
	"REINDEX TABLE t", "REINDEX INDEX plain_i", "CLUSTER plain USING plain_i", "ANALYZE t", "REFRESH MATERIALIZED VIEW m", "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
	"COMMENT ON TABLE t IS 'x'", "COMMENT ON COLUMN t.id IS 'x'", "GRANT SELECT ON t TO PUBLIC",
	"LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE", "LOCK TABLE t, plain IN ROW SHARE MODE",
	"CREATE TABLE n (id int REFERENCES t)", "CREATE TABLE n (id int, FOREIGN KEY (id) REFERENCES t)", "CREATE TABLE n () INHERITS (plain)",
	"CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)", "ALTER SEQUENCE s RESTART",
	"ALTER TABLE t ADD c int", "ALTER TABLE t ADD c int REFERENCES alone", "ALTER TABLE plain DROP x", "ALTER TABLE t ALTER id TYPE bigint", "ALTER TABLE t ALTER id SET DEFAULT 1",
	"ALTER TABLE plain ALTER x SET NOT NULL", "ALTER TABLE plain ALTER x SET STATISTICS 10", "ALTER TABLE plain ALTER x SET (n_distinct = 5)",
	"ALTER TABLE plain ADD CHECK (id > 0)", "ALTER TABLE plain ADD CHECK (id > 0) NOT VALID", "ALTER TABLE plain ADD FOREIGN KEY (id) REFERENCES t NOT VALID",
	"ALTER TABLE fk VALIDATE CONSTRAINT fk_id_fkey", "ALTER TABLE fk DROP CONSTRAINT fk_id_fkey", "ALTER TABLE plain ADD PRIMARY KEY (id)",
	"ALTER TABLE t DISABLE TRIGGER ALL", "ALTER TABLE plain ENABLE TRIGGER g", "ALTER TABLE plain CLUSTER ON plain_i", "ALTER TABLE t SET (fillfactor = 70)",
	"ALTER TABLE t SET (autovacuum_enabled = off, fillfactor = 70)", "ALTER TABLE t SET (user_catalog_table = on)", "ALTER TABLE t RESET (fillfactor)",
	"ALTER TABLE t ENABLE ROW LEVEL SECURITY", "ALTER TABLE alone SET UNLOGGED", "ALTER TABLE t OWNER TO CURRENT_USER", "ALTER TABLE t REPLICA IDENTITY FULL",
	"ALTER TABLE t RENAME TO u", "ALTER TABLE t RENAME id TO i", "ALTER INDEX plain_i RENAME TO j", "ALTER TABLE t SET SCHEMA other",
	"ALTER TABLE p ATTACH PARTITION q FOR VALUES IN (3)", "ALTER TABLE p DETACH PARTITION p1", "ALTER TABLE q INHERIT r",
}

// lockWaits cannot run in a transaction: what they wait for is looked at.
var lockWaits = []string{
	"CREATE INDEX CONCURRENTLY x ON t (id)", "DROP INDEX CONCURRENTLY plain_i", "REINDEX TABLE CONCURRENTLY t", "VACUUM t", "VACUUM FULL t",
	"VACUUM (ANALYZE) t", "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
}

const lockSetup = `
CREATE SCHEMA other;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE alone (id int PRIMARY KEY); CREATE TABLE r (id int); CREATE TABLE wide (id int, x int);
CREATE TABLE plain (id int UNIQUE, x int); CREATE INDEX plain_i ON plain (id); CREATE TABLE fk (id int REFERENCES t);
CREATE TRIGGER g BEFORE INSERT ON plain EXECUTE FUNCTION nothing(); CREATE RULE ru AS ON DELETE TO plain DO ALSO NOTHING; CREATE POLICY po ON plain;
CREATE VIEW v AS SELECT 1 AS one; CREATE MATERIALIZED VIEW m AS SELECT 1 AS one; CREATE UNIQUE INDEX m_i ON m (one);
CREATE SEQUENCE s; CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE q (id int)`

// TestLocksAreThoseThatTheServerTakes runs each statement and compares.
func TestLocksAreThoseThatTheServerTakes(t *testing.T) {
	conn := startServer(t)
	if _, err := conn.Exec(t.Context(), lockSetup); err != nil {
		t.Fatal(err)
	}
	for _, text := range lockCases {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names := oids(t, conn)
		if _, err := tx.Exec(t.Context(), text); err != nil {
			t.Errorf("%s: %v", text, err)
		} else {
			compareLocks(t, conn, text, names, false)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLocksOfWhatRunsInNoTransaction(t *testing.T) {
	holder := startServer(t)
	if _, err := holder.Exec(t.Context(), lockSetup); err != nil {
		t.Fatal(err)
	}
	for _, text := range lockWaits {
		names := oids(t, holder)
		tx, err := holder.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "LOCK TABLE t, plain, p IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		other, err := pgx.ConnectConfig(t.Context(), holder.Config())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := other.Exec(ctx, text)
			done <- err
		}()
		awaitLock(t, holder)
		compareLocks(t, holder, text, names, true)
		cancel()
		<-done
		_ = other.Close(context.Background()) // the cancellation has closed it
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func awaitLock(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
	}
}

// oids are the user's relations before a statement renames or drops them.
func oids(t *testing.T, conn *pgx.Conn) map[uint32]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT oid, relname::text FROM pg_class WHERE oid >= 16384")
	if err != nil {
		t.Fatal(err)
	}
	names := map[uint32]string{}
	var oid uint32
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&oid, &name}, func() error { names[oid] = name; return nil }); err != nil {
		t.Fatal(err)
	}
	return names
}

// compareLocks compares the strongest lock of each relation that the study
// names. A lock that only waits is the first of several.
func compareLocks(t *testing.T, conn *pgx.Conn, text string, names map[uint32]string, waits bool) {
	t.Helper()
	which := "pid = pg_backend_pid() AND granted"
	if waits {
		which = "pid <> pg_backend_pid()"
	}
	rows, err := conn.Query(t.Context(), "SELECT relation, mode FROM pg_locks WHERE relation >= 16384 AND "+which)
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{}
	strength := []string{"", "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
	at := func(mode string) (n int) {
		for i, name := range strength {
			if strings.EqualFold(name, strings.ReplaceAll(mode, " ", "")+"Lock") || name == mode {
				n = i
			}
		}
		return n
	}
	var oid uint32
	var mode string
	if _, err := pgx.ForEachRow(rows, []any{&oid, &mode}, func() error {
		if at(mode) > at(taken[names[oid]]) {
			taken[names[oid]] = mode
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	said, real := map[string]int{}, map[string]int{}
	for _, s := range analyzer.Study([]byte(text)).Statements {
		for _, lock := range s.Locks {
			if _, there := maps.Collect(reversed(names))[lock.Relation]; there {
				said[lock.Relation] = max(said[lock.Relation], int(lock.Mode))
				real[lock.Relation] = at(taken[lock.Relation])
			}
			if waits && taken[lock.Relation] == "" {
				delete(said, lock.Relation) // it would be locked later
				delete(real, lock.Relation)
			}
		}
	}
	if len(said) == 0 && !strings.HasPrefix(text, "GRANT") && text != "DROP INDEX CONCURRENTLY plain_i" { // of that one the table waits
		t.Errorf("%s: no lock is known", text)
	}
	if diff := cmp.Diff(real, said); diff != "" {
		t.Errorf("%s (-the server's +ours): %s; all of the server's: %s", text, diff, fmt.Sprint(taken))
	}
}

func reversed(names map[uint32]string) func(yield func(string, uint32) bool) {
	return func(yield func(string, uint32) bool) {
		for oid, name := range names {
			if !yield(name, oid) {
				return
			}
		}
	}
}
