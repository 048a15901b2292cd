// Package store keeps the collector's evidence and its index in one SQLite
// database.
//
// One transaction appends a batch note to the transparency log, keeps its
// payload and updates the sessions that it speaks of; when it has committed,
// the batch survives loss of power. The words to search follow in
// transactions of their own (see IndexWords), so that they never slow the log
// down. Sessions, chains and words are derived, and Reindex makes them again
// from the notes and payloads.
//
// The store trusts its caller: ingest verifies a batch before it comes here.
// It is safe for concurrent use by one process; a second one is refused.
package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/failpoint"
	"github.com/sluicegate/sluice/pkg/translog"
)

// ErrNotFound reports that there is no such session, approval or batch.
var ErrNotFound = errors.New("not found")

// ErrOtherLog reports a database that belongs to another transparency log.
var ErrOtherLog = errors.New("the database belongs to another log")

const schemaVersion = 11

//go:embed schema.sql
var evidenceSchema string

//go:embed shreddings.sql
var shreddingsSchema string

//go:embed orders.sql
var ordersSchema string

//go:embed derived.sql
var derivedSchema string

//go:embed words.sql
var wordsSchema string

//go:embed people.sql
var peopleSchema string

// Store is the database. Close it after the last use.
type Store struct {
	write    *sql.DB // one connection: SQLite has one writer
	read     *sql.DB
	lock     *os.File
	words    chan struct{} // has a token when there may be something to index
	searched chan struct{} // has a token when somebody waits for that
	recent   recent
	known    known
	moved    *signal // whenever approvals, sessions or the outbox may be different

	signer *translog.Signer // of checkpoints
}

// Open opens the database in dir, making it if there is none. signer signs the
// log's checkpoints, and logKey is its verifier key. A database of another log
// gives ErrOtherLog; one whose log is not what its checkpoint says is refused.
func Open(ctx context.Context, dir, logKey string, signer *translog.Signer) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "collector.db")
	s := &Store{
		lock: lock, words: make(chan struct{}, 1), searched: make(chan struct{}, 1), moved: newSignal(),
		signer: signer,
	}
	if err := s.connect(ctx, path, logKey); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.Close())
	}
	poke(s.words)
	return s, nil
}

func (s *Store) connect(ctx context.Context, path, logKey string) error {
	s.write = sql.OpenDB(connector(dsn(path, "_txlock=immediate")))
	s.write.SetMaxOpenConns(1)
	if err := s.migrate(ctx, logKey); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	s.read = sql.OpenDB(connector(dsn(path, "_pragma=query_only(1)")))
	return nil
}

func dsn(path, more string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=secure_delete(1)&" + more
}

// lockDir keeps a second collector away from the directory until the file is
// closed.
func lockDir(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s, is another collector running? %w", dir, err), file.Close())
	}
	return file, nil
}

func (s *Store) migrate(ctx context.Context, logKey string) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		switch version {
		case 0:
			return s.create(ctx, tx, logKey)
		case schemaVersion:
			return s.checkLog(ctx, tx, logKey)
		}
		if version < 0 || version > schemaVersion {
			return fmt.Errorf("schema version %d, this program knows %d", version, schemaVersion)
		}
		for _, step := range migrations[version:] {
			if err := step(tx); err != nil {
				return fmt.Errorf("migrate to schema version %d: %w", schemaVersion, err)
			}
		}
		if err := setVersion(tx); err != nil {
			return err
		}
		return s.checkLog(ctx, tx, logKey)
	})
}

func (s *Store) create(ctx context.Context, tx *sql.Tx, logKey string) error {
	if _, err := tx.Exec(evidenceSchema + ordersSchema + policiesSchema + shreddingsSchema + derivedSchema + wordsSchema + peopleSchema); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	if err := setMeta(tx, "log", logKey); err != nil {
		return err
	}
	if err := setVersion(tx); err != nil {
		return err
	}
	return s.sign(ctx, tx, 0)
}

func setVersion(tx *sql.Tx) error {
	_, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
	return err
}

func (s *Store) checkLog(ctx context.Context, tx *sql.Tx, logKey string) error {
	var kept string
	if err := tx.QueryRow("SELECT value FROM meta WHERE key = 'log'").Scan(&kept); err != nil {
		return fmt.Errorf("read log key: %w", err)
	}
	if kept != logKey {
		return fmt.Errorf("%w: %s, not %s", ErrOtherLog, kept, logKey)
	}
	key, err := translog.NewVerifier(logKey)
	if err != nil {
		return err
	}
	return s.checkHead(ctx, tx, key)
}

func setMeta(tx *sql.Tx, key string, value any) error {
	_, err := tx.Exec("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}

// change runs do in one durable transaction, or leaves everything as it was.
func (s *Store) change(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	failpoint.Here("store.commit")
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	failpoint.Here("store.committed")
	s.moved.raise()
	return nil
}

// Moved returns a channel that is closed with the next change of any kind.
// Whoever waits for one takes the channel first and looks then.
func (s *Store) Moved() <-chan struct{} { return s.moved.next() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.read.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// Writable reports whether a transaction can be made durable now.
func (s *Store) Writable(ctx context.Context) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		return setMeta(tx, "writable", stamp(time.Now()))
	})
}

// Close releases the database.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

func stamp(t time.Time) int64 { return t.UnixNano() }

func moment(ns int64) time.Time { return time.Unix(0, ns).UTC() }
