package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"modernc.org/sqlite"
)

// connector opens connections that keep their statements compiled: SQLite
// takes longer to compile most of ours than to run them.
type connector string // the data source's name

// Connect implements driver.Connector.
func (c connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.Driver().Open(string(c))
	if err != nil {
		return nil, err
	}
	own, ok := conn.(engine)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks a method"), conn.Close())
	}
	return &connection{engine: own, kept: map[string]*statement{}}, nil
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return &sqlite.Driver{} }

// engine is what a connection of the SQLite driver can do.
type engine interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// maxKept bounds the statements of a connection. The program has fewer; what
// a request composes can be more.
const maxKept = 256

// connection is an engine that keeps statements. One goroutine at a time uses
// it, as database/sql promises.
type connection struct {
	engine
	kept map[string]*statement // by text
}

// statement is a compiled one.
type statement struct {
	compiled
	busy bool // its rows are being read
}

type compiled interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// take returns the statement of a text, nil where it is not to be kept: a
// script, one whose rows are being read, or one too many.
func (c *connection) take(ctx context.Context, query string) (*statement, error) {
	if kept, ok := c.kept[query]; ok {
		if kept.busy {
			return nil, nil
		}
		return kept, nil
	}
	if len(c.kept) == maxKept || strings.Contains(query, ";") {
		return nil, nil
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	own, ok := stmt.(compiled)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks a method"), stmt.Close())
	}
	kept := &statement{compiled: own}
	c.kept[query] = kept
	return kept, nil
}

// ExecContext implements driver.ExecerContext.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	kept, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return c.engine.ExecContext(ctx, query, args)
	}
	return kept.ExecContext(ctx, args)
}

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	kept, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return c.engine.QueryContext(ctx, query, args)
	}
	rows, err := kept.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	kept.busy = true
	return &keptRows{rows, kept}, nil
}

// Close implements driver.Conn.
func (c *connection) Close() error {
	var errs []error
	for _, kept := range c.kept {
		errs = append(errs, kept.Close())
	}
	clear(c.kept)
	return errors.Join(append(errs, c.engine.Close())...)
}

// keptRows are the rows of a statement that is kept.
type keptRows struct {
	driver.Rows
	of *statement
}

// Close implements driver.Rows.
func (r *keptRows) Close() error {
	err := r.Rows.Close()
	r.of.busy = false
	return err
}
