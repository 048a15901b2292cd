package store

import (
	"database/sql"
	"path/filepath"
	"testing"
)

// A statement that is kept must not disturb the one whose rows are still read.
func TestKeptStatementsAreUsedAgainAndNeverTwiceAtOnce(t *testing.T) {
	db := sql.OpenDB(connector(dsn(filepath.Join(t.TempDir(), "db"), "")))
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("CREATE TABLE numbers (n INTEGER); CREATE TABLE others (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		if _, err := tx.Exec("INSERT INTO numbers VALUES (?)", n); err != nil {
			t.Fatal(err)
		}
	}
	const query = "SELECT n FROM numbers WHERE n >= ? ORDER BY n"
	rows, err := tx.Query(query, 0)
	if err != nil {
		t.Fatal(err)
	}
	var outer []int
	for rows.Next() {
		var n, first int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(query, n).Scan(&first); err != nil {
			t.Fatal(err)
		}
		if first != n {
			t.Errorf("the inner query gave %d, want %d", first, n)
		}
		outer = append(outer, n)
	}
	if err := rows.Err(); err != nil || len(outer) != 10 {
		t.Errorf("the outer query gave %v, %v", outer, err)
	}
	if _, err := tx.Exec("INSERT INTO nothing VALUES (1)"); err == nil {
		t.Error("an impossible statement was kept")
	}
	if err := tx.QueryRow(query, 5).Scan(new(int)); err != nil {
		t.Errorf("the statement again: %v", err)
	}
}
