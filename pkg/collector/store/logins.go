package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Login is somebody who is logged in at the console.
type Login struct {
	Person  []byte    // as AddLogin was given it
	Created time.Time // when they logged in
	Proven  time.Time // when they last proved who they are
}

// AddLogin keeps a login under the hash of its cookie, in place of the one
// with the hash before, if there is one: a login always gets a fresh cookie.
func (s *Store) AddLogin(ctx context.Context, hash, before []byte, l Login) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM logins WHERE hash = ?", notNull(before)); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO logins (hash, person, created, seen, proven) VALUES (?, ?, ?, ?, ?)",
			hash, l.Person, stamp(l.Created), stamp(time.Now()), stamp(l.Proven))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep login: %w", err)
	}
	return nil
}

// touchEvery is how exactly it is kept when a login was last used.
const touchEvery = time.Minute

// Login returns the login of a cookie's hash that was used within idle and
// began within life, and notes that it is used.
func (s *Store) Login(ctx context.Context, hash []byte, idle, life time.Duration) (Login, error) {
	var l Login
	var created, seen, proven int64
	now := time.Now()
	err := s.read.QueryRowContext(ctx, "SELECT person, created, seen, proven FROM logins WHERE hash = ? AND seen > ? AND created > ?",
		hash, stamp(now.Add(-idle)), stamp(now.Add(-life))).Scan(&l.Person, &created, &seen, &proven)
	if errors.Is(err, sql.ErrNoRows) {
		return l, fmt.Errorf("login %w", ErrNotFound)
	}
	if err != nil {
		return l, fmt.Errorf("read login: %w", err)
	}
	l.Created, l.Proven = moment(created), moment(proven)
	if now.Sub(moment(seen)) < touchEvery {
		return l, nil
	}
	_, err = s.write.ExecContext(ctx, "UPDATE logins SET seen = ? WHERE hash = ?", stamp(now), hash)
	return l, err
}

// EndLogin forgets a login.
func (s *Store) EndLogin(ctx context.Context, hash []byte) error {
	_, err := s.write.ExecContext(ctx, "DELETE FROM logins WHERE hash = ?", hash)
	return err
}

// ForgetLogins removes those that have ended.
func (s *Store) ForgetLogins(ctx context.Context, idle, life time.Duration) error {
	now := time.Now()
	_, err := s.write.ExecContext(ctx, "DELETE FROM logins WHERE seen <= ? OR created <= ?", stamp(now.Add(-idle)), stamp(now.Add(-life)))
	return err
}
