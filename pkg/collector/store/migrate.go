package store

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/sluicegate/sluice/pkg/workload"
)

// migrations bring a database from the version that is their place to the next.
var migrations = [schemaVersion]func(*sql.Tx) error{
	1:  dropDocuments,
	2:  func(tx *sql.Tx) error { _, err := tx.Exec(ordersSchema); return err },
	3:  addPeople,
	4:  func(tx *sql.Tx) error { _, err := tx.Exec(shreddingsSchema); return err },
	5:  addAbout,
	6:  indexByGroup,
	7:  func(tx *sql.Tx) error { _, err := tx.Exec(policiesSchema); return err },
	8:  refuseOldRecords,
	9:  indexLists,
	10: addParents,
}

// addParents: sessions tell which one they are inside of, from then on.
func addParents(tx *sql.Tx) error {
	_, err := tx.Exec(`
		ALTER TABLE sessions ADD COLUMN parent TEXT NOT NULL DEFAULT '';
		ALTER TABLE sessions ADD COLUMN parent_operation INTEGER NOT NULL DEFAULT 0`)
	return err
}

// refuseOldRecords: agents sign records of another form since. What is signed
// cannot be brought into it, and the program that wrote it can export it.
func refuseOldRecords(tx *sql.Tx) error {
	var old int
	err := tx.QueryRow(`SELECT (SELECT count(*) FROM batches WHERE substr(note, 1, 21) = ?1) + (SELECT count(*) FROM parked WHERE substr(note, 1, 21) = ?1)`,
		[]byte("sluice.audit-batch/1\n")).Scan(&old)
	if err == nil && old > 0 {
		err = fmt.Errorf("%d batches are of version 1: export them with the program that wrote them, and begin with an empty directory", old)
	}
	return err
}

// dropDocuments: words had numbers of their own.
func dropDocuments(tx *sql.Tx) error {
	_, err := tx.Exec("DROP TABLE documents")
	return err
}

// indexByGroup: each record had a row of its own; IndexWords makes them again.
func indexByGroup(tx *sql.Tx) error {
	_, err := tx.Exec("DROP TABLE words; DELETE FROM meta WHERE key = 'indexed';" + wordsSchema)
	return err
}

// indexLists: lists by agent, by protocol and of what is open read everything.
func indexLists(tx *sql.Tx) error {
	_, err := tx.Exec(`
		CREATE INDEX sessions_protocol ON sessions (protocol, started);
		CREATE INDEX sessions_agent ON sessions (agent, started);
		DROP INDEX sessions_open;
		CREATE INDEX sessions_open ON sessions (started) WHERE ended IS NULL`)
	return err
}

// addAbout: chains tell what agents say of themselves, from then on.
func addAbout(tx *sql.Tx) error {
	_, err := tx.Exec(`
		ALTER TABLE chains ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
		ALTER TABLE chains ADD COLUMN version TEXT NOT NULL DEFAULT '';
		ALTER TABLE chains ADD COLUMN host TEXT NOT NULL DEFAULT '';
		ALTER TABLE chains ADD COLUMN policy TEXT NOT NULL DEFAULT '';
		ALTER TABLE chains ADD COLUMN policy_since INTEGER NOT NULL DEFAULT 0`)
	return err
}

// addPeople: sessions tell their repository and run, approvals their
// repository and changes, and people log in.
func addPeople(tx *sql.Tx) error {
	_, err := tx.Exec(`
		ALTER TABLE sessions ADD COLUMN repository TEXT NOT NULL DEFAULT '';
		ALTER TABLE sessions ADD COLUMN run TEXT NOT NULL DEFAULT '';
		CREATE INDEX sessions_resource ON sessions (resource, started);
		CREATE INDEX sessions_denied ON sessions (started) WHERE denied > 0;
		CREATE INDEX sessions_held ON sessions (started) WHERE held > 0;
		CREATE TABLE runs (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, started INTEGER NOT NULL);
		ALTER TABLE approvals ADD COLUMN repository TEXT NOT NULL DEFAULT '';` + peopleSchema)
	if err != nil {
		return err
	}
	rows, err := tx.Query("SELECT key, started, workload FROM sessions")
	if err != nil {
		return err
	}
	type old struct {
		key, started int64
		workload     []byte
	}
	all, err := collect(rows, func(row scanner) (o old, err error) {
		err = row.Scan(&o.key, &o.started, &o.workload)
		return o, err
	})
	if err != nil {
		return err
	}
	for _, o := range all {
		var w workload.Workload
		if err := json.Unmarshal(o.workload, &w); err != nil {
			return err
		}
		run := runOf(&w)
		if _, err := tx.Exec("UPDATE sessions SET repository = ?, run = ? WHERE key = ?", w.Repository(), run, o.key); err != nil {
			return err
		}
		if err := addRun(tx, run, o.started); err != nil {
			return err
		}
	}
	_, err = tx.Exec(`
		CREATE INDEX sessions_repository ON sessions (repository, started);
		CREATE INDEX sessions_run ON sessions (run, started);
		CREATE INDEX runs_started ON runs (started)`)
	return err
}
