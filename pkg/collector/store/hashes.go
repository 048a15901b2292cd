package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/sluicegate/sluice/pkg/translog"
)

// nodes reads and writes the tree's nodes through one transaction or
// database.
type nodes struct {
	ctx context.Context //nolint:containedctx // translog.HashReader has no context; nodes lives for one call
	db  interface {
		querier
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}
	known *known // nil: each is read from the database
}

// known are nodes that were read from the database. A node never changes. It is
// safe for concurrent use.
type known struct {
	mu     sync.Mutex
	hashes map[int64]translog.Hash // guarded by mu; by position
}

// maxKnown bounds the nodes that are remembered: many times those that the
// proofs of a log's end share.
const maxKnown = 4096

func (k *known) get(index int64) (hash translog.Hash, ok bool) {
	if k == nil {
		return hash, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	hash, ok = k.hashes[index]
	return hash, ok
}

func (k *known) put(index int64, hash translog.Hash) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hashes == nil || len(k.hashes) >= maxKnown {
		k.hashes = map[int64]translog.Hash{}
	}
	k.hashes[index] = hash
}

// ReadHashes implements translog.HashReader.
func (n nodes) ReadHashes(indexes []int64) ([]translog.Hash, error) {
	hashes := make([]translog.Hash, len(indexes))
	for i, index := range indexes {
		var ok bool
		if hashes[i], ok = n.known.get(index); ok {
			continue
		}
		var raw []byte
		err := n.db.QueryRowContext(n.ctx, "SELECT hash FROM hashes WHERE position = ?", index).Scan(&raw)
		if err != nil {
			return nil, fmt.Errorf("read node %d: %w", index, err)
		}
		if copy(hashes[i][:], raw) != len(hashes[i]) || len(raw) != len(hashes[i]) {
			return nil, fmt.Errorf("read node %d: %d bytes", index, len(raw))
		}
		n.known.put(index, hashes[i])
	}
	return hashes, nil
}

// WriteHashes implements translog.HashStore.
func (n nodes) WriteHashes(first int64, hashes []translog.Hash) error {
	for i, h := range hashes {
		if _, err := n.db.ExecContext(n.ctx, "INSERT INTO hashes VALUES (?, ?)", first+int64(i), h[:]); err != nil {
			return fmt.Errorf("write node %d: %w", first+int64(i), err)
		}
	}
	return nil
}

// Hashes reads the log's tree from the database, outside of any transaction. It
// is for one call of translog.
func (s *Store) Hashes(ctx context.Context) translog.HashReader { return nodes{ctx, s.read, nil} }

// KnownHashes is Hashes for proofs that are made all the time: a node that was
// read before is not read again.
func (s *Store) KnownHashes(ctx context.Context) translog.HashReader {
	return nodes{ctx, s.read, &s.known}
}

// Checkpoint returns the newest signed checkpoint and its size. A log without
// leaves has one, too.
func (s *Store) Checkpoint(ctx context.Context) (size int64, note []byte, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT size, note FROM checkpoint").Scan(&size, &note)
	if err != nil {
		return 0, nil, fmt.Errorf("read checkpoint: %w", err)
	}
	return size, note, nil
}

// sign replaces the checkpoint with one of size leaves.
func (s *Store) sign(ctx context.Context, tx *sql.Tx, size int64) error {
	root, err := translog.Root(size, nodes{ctx, tx, nil})
	if err != nil {
		return err
	}
	note, err := translog.SignCheckpoint(size, root, s.signer)
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO checkpoint VALUES (1, ?, ?) ON CONFLICT (only) DO UPDATE SET size = excluded.size, note = excluded.note", size, note)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// checkHead reports whether the tree still has the root that the newest
// checkpoint signed: a log that was cut or altered on disk must not go on.
func (s *Store) checkHead(ctx context.Context, tx *sql.Tx, key *translog.Verifier) error {
	var note []byte
	err := tx.QueryRow("SELECT note FROM checkpoint").Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		return errors.New("there is no checkpoint")
	}
	if err != nil {
		return err
	}
	head, err := translog.OpenCheckpoint(note, key)
	if err != nil {
		return err
	}
	size, err := logSize(ctx, tx)
	if err != nil {
		return err
	}
	root, err := translog.Root(head.Size, nodes{ctx, tx, nil})
	if err != nil {
		return err
	}
	if size != head.Size || root != head.Root {
		return fmt.Errorf("the log of %d leaves is not the one whose checkpoint of %d leaves it signed", size, head.Size)
	}
	return checkTree(tx, size)
}

// checkTree reads the newest nodes of the tree and reports whether they fit
// together.
func checkTree(tx *sql.Tx, size int64) error {
	_, from := translog.CheckedFrom(size)
	rows, err := tx.Query("SELECT position, hash FROM hashes WHERE position >= ? ORDER BY position", from)
	if err != nil {
		return fmt.Errorf("check tree: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err says what counts
	err = translog.CheckTree(size, func() (position int64, hash translog.Hash, err error) {
		if !rows.Next() {
			return 0, hash, errors.Join(translog.ErrTree, rows.Err())
		}
		var raw sql.RawBytes
		if err := rows.Scan(&position, &raw); err != nil {
			return 0, hash, err
		}
		if copy(hash[:], raw) != len(hash) || len(raw) != len(hash) {
			return 0, hash, translog.ErrTree
		}
		return position, hash, nil
	})
	if err != nil {
		return fmt.Errorf("check tree: %w", err)
	}
	return nil
}
