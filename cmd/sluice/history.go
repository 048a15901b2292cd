package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// pageOfSessions is how many sessions are asked for at a time.
const pageOfSessions = 500

// past is one recorded operation, as a policy can be asked about it again.
type past struct {
	session *session.Session
	op      *operation.Operation
	intent  *record.Intent
}

// history reads recorded operations back. An operation is made again from its
// record: SQL is analysed anew, because the record keeps the text and not all
// that is known of it.
type history struct {
	client   *client
	analyzer *sqltext.Analyzer
}

// since calls visit for each operation of the sessions that started since a
// moment, the newest session first.
func (h *history) since(ctx context.Context, since string, visit func(past)) error {
	query := url.Values{"limit": {fmt.Sprint(pageOfSessions)}, "since": {since}}
	for {
		var page []view.Session
		if err := h.client.get(ctx, "/v1/sessions", query, &page); err != nil {
			return err
		}
		for _, s := range page {
			if err := h.session(ctx, s.ID, visit); err != nil {
				return err
			}
		}
		if len(page) < pageOfSessions {
			return nil
		}
		query.Set("until", page[len(page)-1].Started.Format(time.RFC3339Nano))
	}
}

// session calls visit for each operation of one session.
func (h *history) session(ctx context.Context, id string, visit func(past)) error {
	records, err := h.client.records(ctx, id)
	if err != nil {
		return err
	}
	folded, err := view.Fold(records)
	if err != nil {
		return err
	}
	texts := map[uint64]*view.Operation{}
	for _, op := range folded {
		texts[op.ID] = op
	}
	var s *session.Session
	for i := range records {
		header, _, err := view.Decode(&records[i])
		switch {
		case err != nil:
			return err
		case header.Opened != nil:
			s = header.Opened
		case header.Intent != nil && s == nil:
			return errors.New("session " + id + " has no opening")
		case header.Intent != nil:
			visit(past{s, h.operation(&header, texts[header.Operation]), header.Intent})
		}
	}
	return nil
}

// operation makes an operation again from what was recorded of it.
func (h *history) operation(header *record.Header, folded *view.Operation) *operation.Operation {
	in := header.Intent
	op := &operation.Operation{
		ID: header.Operation, Parent: header.Parent, Kind: operation.Kind(in.Kind), Text: operation.Text(folded.Text),
		Parsed: in.Parsed, ReadOnly: in.ReadOnly, Context: operation.Context{Database: in.Database, Role: in.Role},
		SSH: in.SSH.Operation(operation.Text(folded.Text)), Git: in.Git.Operation(),
	}
	if in.Parsed && op.Kind == operation.Statement {
		op.SQL = h.sql(in, folded.Text)
	}
	return op
}

// sealedValue is what stands in a text in place of a value that was not kept.
var sealedValue = regexp.MustCompile(`\[sealed hmac-sha256:[0-9a-f]{16} [0-9]+ bytes\]`)

// sql analyses a recorded text, or, where it says something else than the
// record, takes what the record says.
func (h *history) sql(in *record.Intent, text string) *operation.SQL {
	sql := &operation.SQL{}
	found := h.analyzer.Analyze(sealedValue.ReplaceAll([]byte(text), []byte("'sealed'")),
		sqltext.Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true})
	if found.Parsed && (len(in.Statements) == 0 || len(found.Statements) == len(in.Statements)) {
		for _, statement := range found.Statements {
			sql.Statements = append(sql.Statements, statement.SQLStatement)
		}
		return sql
	}
	for _, s := range in.Statements {
		sql.Statements = append(sql.Statements, operation.SQLStatement{
			Kind: s.Kind, Class: operation.Class(s.Class), Relations: s.Relations, Opaque: true,
		})
	}
	return sql
}
