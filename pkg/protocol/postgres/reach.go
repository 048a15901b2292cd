package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// Bounds of what is told about one operation.
const (
	maxReachStatements = 8
	maxReachRelations  = 8 // of a statement
	maxDependants      = 16
)

// Reach implements protocol.Reacher.
func (p *Postgres) Reach(ctx context.Context, conn *protocol.Conn, op *operation.Operation) *operation.Reach {
	if op.Kind != operation.Statement {
		return nil
	}
	if !op.Parsed {
		return &operation.Reach{Unknown: "the statement could not be understood"}
	}
	text := bytes.Clone(textOf(op))
	study := p.analyzer.Study(text)
	if len(study.Statements) == 0 {
		return &operation.Reach{Unknown: study.Why}
	}
	found := &operation.Reach{}
	for i := range study.Statements[:min(len(study.Statements), maxReachStatements)] {
		found.Statements = append(found.Statements, operation.StatementReach{Kind: study.Statements[i].Kind})
	}
	if len(study.Statements) > maxReachStatements {
		found.Unknown = "only the first statements were looked at"
	}
	if study.Affected == nil && slices.ContainsFunc(study.Statements, changesRows) {
		found.Statements[0].Unknown = study.Why
	}
	a, err := newAsker(ctx, conn, op.Context.Database)
	if err != nil {
		found.Unknown = "the server could not be asked"
		return found
	}
	defer a.Close() //nolint:errcheck // everything that it said was read
	l := &looking{asker: a, where: op.Context, user: conn.Credential.User}
	for i := range found.Statements {
		l.relations(study.Statements[i].Locks, &found.Statements[i])
	}
	if study.Affected != nil {
		l.rows(study.Affected, op, &found.Statements[0])
	}
	return found
}

// changesRows reports whether a person would want to know how many rows.
func changesRows(s sqltext.Studied) bool {
	return s.Kind == "UPDATE" || s.Kind == "DELETE" || s.Kind == "MERGE"
}

// textOf is the text that an operation runs: that of the statement behind a
// portal, or of a simple query.
func textOf(op *operation.Operation) []byte {
	if len(op.Source) > 0 || len(op.Bytes) <= headerSize || op.Bytes[0] != msgQuery {
		return op.Source
	}
	r := reader{b: op.Bytes[headerSize:]}
	return r.cstring()
}

// looking is one look at the server on behalf of a session.
type looking struct {
	*asker
	where operation.Context // of the session
	user  string            // as whom both logged in
}

// within runs questions in a transaction of their own, which changes nothing
// and is given up in the end, so that one that fails spoils no other.
func (l *looking) within(ask func() error) error {
	_, err := l.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	if err == nil && l.where.Role != "" && l.where.Role != l.user {
		_, err = l.ask("SELECT pg_catalog.set_config('role', $1, true)", textParam(l.where.Role))
	}
	if err == nil {
		err = ask()
	}
	_, ended := l.ask("ROLLBACK")
	return errors.Join(err, ended)
}

// under sets the search_path until the transaction ends.
func (l *looking) under(path string) error {
	_, err := l.ask("SELECT pg_catalog.set_config('search_path', $1, true)", textParam(path))
	return err
}

const ownPath = "pg_catalog, pg_temp"

func textParam(text string) operation.Param { return operation.Param{Text: operation.Text(text)} }

func listParam(list []string) operation.Param { return textParam(arrayLiteral(list)) }

// resolve returns the OIDs of relations as the session would find them; "" for
// what is not there.
func (l *looking) resolve(names []string) (oids []string, err error) {
	var spaces, lasts []string
	for _, name := range names {
		parts := sqltext.SplitName(name)
		space := ""
		if len(parts) > 1 {
			space = parts[len(parts)-2]
		}
		spaces, lasts = append(spaces, space), append(lasts, parts[len(parts)-1])
	}
	if err := l.under(l.where.SearchPath); err != nil {
		return nil, err
	}
	rows, err := l.ask(resolveQuery, listParam(spaces), listParam(lasts))
	if err != nil || len(rows) != len(names) {
		return nil, errors.Join(err, errMalformed)
	}
	for _, row := range rows {
		oids = append(oids, row[0])
	}
	return oids, l.under(ownPath)
}

// relations tells of those that a statement locks, where they are there.
func (l *looking) relations(locks []sqltext.Lock, s *operation.StatementReach) {
	if len(locks) == 0 {
		return
	}
	locks = locks[:min(len(locks), maxReachRelations)]
	modes := make(map[string]sqltext.LockMode)
	var known []string
	err := l.within(func() error {
		names := make([]string, len(locks))
		for i := range locks {
			names[i] = locks[i].Relation
		}
		oids, err := l.resolve(names)
		if err != nil {
			return err
		}
		for i, oid := range oids {
			if oid == "" {
				continue
			}
			if _, twice := modes[oid]; !twice {
				known = append(known, oid)
			}
			modes[oid] = max(modes[oid], locks[i].Mode)
		}
		return l.describeRelations(known, modes, s)
	})
	if err != nil && s.Unknown == "" {
		s.Unknown = "its relations could not be read"
	}
	for i := range s.Relations {
		size := int64(-1)
		_ = l.within(func() error { // what is locked, or not for this role, has no size
			text, err := l.value(sizeQuery, listParam(known[i:i+1]))
			if err == nil {
				size = number(text)
			}
			return err
		})
		s.Relations[i].Bytes = size
	}
}

// describeRelations fills in what the catalog says of relations.
func (l *looking) describeRelations(oids []string, modes map[string]sqltext.LockMode, s *operation.StatementReach) error {
	if len(oids) == 0 {
		return nil
	}
	described, err := l.ask(relationQuery, listParam(oids))
	if err != nil {
		return err
	}
	hanging, err := l.ask(dependantQuery, listParam(oids))
	if err != nil {
		return err
	}
	for _, oid := range oids {
		at := slices.IndexFunc(described, func(row []string) bool { return len(row) == 4 && row[0] == oid })
		if at < 0 {
			return errMalformed
		}
		r := operation.RelationReach{Name: described[at][1], Kind: described[at][2], Rows: number(described[at][3]), Lock: modes[oid].String(), Bytes: -1}
		for _, row := range hanging {
			if len(row) == 2 && row[0] == oid {
				r.Dependants = append(r.Dependants, row[1])
			}
		}
		if more := len(r.Dependants) - maxDependants; more > 0 {
			r.Dependants = append(r.Dependants[:maxDependants], fmt.Sprintf("%d more", more))
		}
		s.Relations = append(s.Relations, r)
	}
	return nil
}

// number reads an integer of the server's; -1 for what is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// rows tells how many rows a statement would change.
func (l *looking) rows(a *sqltext.Affected, op *operation.Operation, s *operation.StatementReach) {
	if op.Context.InTransaction {
		s.Unknown = "its transaction may have changed what only it can see"
		return
	}
	err := l.within(func() error {
		doubt, err := l.estimate(a, op.Params, s)
		if err != nil || s.Unknown != "" {
			return err
		}
		if s.Unknown = doubt; doubt != "" {
			return nil
		}
		if err := l.under(l.where.SearchPath); err != nil {
			return err
		}
		text, err := l.value("SELECT pg_catalog.count(*) FROM ("+a.Query+") AS affected", op.Params...)
		if err == nil {
			n := number(text)
			s.Counted = &n
		}
		return err
	})
	if err != nil {
		s.Unknown = failure(err)
	}
}

// failure says why the server did not answer.
func failure(err error) string {
	var said serverError
	switch {
	case !errors.As(err, &said):
		return "the server did not answer in time"
	case said == "57014":
		return "it would take too long"
	case said == "55P03":
		return "a table is locked"
	}
	return said.Error()
}

// estimate asks the planner, once nothing speaks against it, and returns why
// the rows cannot be counted. It keeps the tables as they are until the
// transaction ends.
func (l *looking) estimate(a *sqltext.Affected, params []operation.Param, s *operation.StatementReach) (doubt string, err error) {
	oids, err := l.resolve(a.Relations)
	if err != nil {
		return "", err
	}
	if slices.Contains(oids, "") {
		s.Unknown = "one of its tables is not there"
		return "", nil
	}
	locks, err := l.value(lockTextQuery, listParam(oids))
	if err != nil {
		return "", err
	}
	if locks != "" { // empty where nothing is a table, to which is objected below
		if _, err := l.ask(locks); err != nil {
			return "", err
		}
	}
	types := declared(params)
	var lasts []string
	for _, name := range a.Relations {
		parts := sqltext.SplitName(name)
		lasts = append(lasts, parts[len(parts)-1])
	}
	objection, err := l.value(objectionQuery, listParam(oids), listParam(lasts), listParam(a.Types), listParam(types))
	if err != nil {
		return "", err
	}
	if s.Unknown = objection; objection != "" {
		return "", nil
	}
	doubt, err = l.value(doubtQuery, listParam(oids), listParam(a.Refs), listParam(a.Types), listParam(types), listParam(a.Functions), textParam(strconv.FormatBool(a.Arithmetic)))
	if err != nil {
		return "", err
	}
	if a.Doubt != "" {
		doubt = a.Doubt
	}
	if err := l.under(l.where.SearchPath); err != nil {
		return "", err
	}
	s.Estimated, err = l.plan(a.Query, params)
	return doubt, err
}

// plan returns the planner's rows of a query that is not run.
func (l *looking) plan(query string, params []operation.Param) (*int64, error) {
	text, err := l.value("EXPLAIN (FORMAT JSON) "+query, params...)
	if err != nil {
		return nil, err
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
		return nil, errMalformed
	}
	n := int64(plans[0].Plan.Rows)
	return &n, nil
}

// declared are the types that parameters were declared with.
func declared(params []operation.Param) (types []string) {
	for _, p := range params {
		if p.Type != 0 {
			types = append(types, strconv.FormatUint(uint64(p.Type), 10))
		}
	}
	return types
}
