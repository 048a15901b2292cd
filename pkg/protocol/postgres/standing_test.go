package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// standingFixture has the roles and functions that the tests below move with.
const standingFixture = `
DO $$ BEGIN CREATE ROLE clerk; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT clerk TO app;
CREATE SCHEMA IF NOT EXISTS moved AUTHORIZATION app;
GRANT USAGE ON SCHEMA moved TO PUBLIC;
CREATE OR REPLACE FUNCTION moved.wander() RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', 'wandered', false) $$;
CREATE OR REPLACE FUNCTION moved.stray() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', 'strayed', false); RETURN NEW; END $$;
CREATE TABLE IF NOT EXISTS moved.straying (a int);
DROP TRIGGER IF EXISTS stray ON moved.straying;
CREATE TRIGGER stray BEFORE INSERT ON moved.straying FOR EACH ROW EXECUTE FUNCTION moved.stray();
ALTER TABLE moved.straying OWNER TO app;
`

const usualPath = `"$user", public`

// standingCases run statements, and say as what the last is decided.
var standingCases = []struct {
	name       string
	statements []string
	role, path string
}{
	{"login", []string{"SELECT 1"}, "app", usualPath},
	{"set", []string{"SET search_path = moved, public", "SELECT 1"}, "app", "moved, public"},
	{"set schema", []string{"SET SCHEMA 'moved'", "SELECT 1"}, "app", "moved"},
	{"set a name in quotes", []string{`SET search_path = "a,b"`, "SELECT 1"}, "app", `"a,b"`},
	{"set to nothing", []string{`SET search_path = ''`, "SELECT 1"}, "app", `""`},
	{"role", []string{"SET ROLE clerk", "SELECT 1"}, "clerk", usualPath},
	{"role as a parameter", []string{"SET role TO 'clerk'", "SELECT 1"}, "clerk", usualPath},
	{"role and back", []string{"SET ROLE clerk", "RESET ROLE", "SELECT 1"}, "app", usualPath},
	{"role none", []string{"SET ROLE clerk", "SET ROLE NONE", "SELECT 1"}, "app", usualPath},
	{"authorization", []string{"SET ROLE clerk", "SET SESSION AUTHORIZATION DEFAULT", "SELECT 1"}, "app", usualPath},
	{"set_config", []string{"SELECT set_config('role', 'clerk', false)", "SELECT 1"}, "clerk", usualPath},
	{"a user's function", []string{"SELECT moved.wander()", "SELECT 1"}, "app", "wandered"},
	{"procedural", []string{"DO $$ BEGIN PERFORM set_config('search_path', 'moved', false); END $$", "SELECT 1"}, "app", "moved"},
	{"reset all", []string{"SET search_path = moved", "RESET ALL", "SELECT 1"}, "app", usualPath},
	{"discard all", []string{"SET search_path = moved", "SET ROLE clerk", "DISCARD ALL", "SELECT 1"}, "app", usualPath},
	{"in a transaction", []string{"BEGIN", "SET search_path = moved", "SELECT 1"}, "app", "moved"},
	{"local", []string{"BEGIN", "SET LOCAL search_path = moved", "SELECT 1"}, "app", "moved"},
	{"local and over", []string{"BEGIN", "SET LOCAL search_path = moved", "SELECT 1", "COMMIT", "SELECT 1"}, "app", usualPath},
	{"rolled back", []string{"BEGIN", "SET ROLE clerk", "SELECT 1", "ROLLBACK", "SELECT 1"}, "app", usualPath},
	{"back to a savepoint", []string{"BEGIN", "SAVEPOINT s", "SET ROLE clerk", "SELECT 1", "ROLLBACK TO s", "SELECT 1"}, "app", usualPath},
	{"failed and back", []string{"BEGIN", "SAVEPOINT s", "SET ROLE clerk", "SELECT 1/0", "ROLLBACK TO s", "SELECT 1"}, "app", usualPath},
	{"failed and over", []string{"BEGIN", "SET ROLE clerk", "SELECT 1/0", "ROLLBACK", "SELECT 1"}, "app", usualPath},
	{"refused by the server", []string{"SET ROLE postgres", "SELECT 1"}, "app", usualPath},
}

func TestDecisionsKnowRoleAndSearchPathAsTheServerDoes(t *testing.T) {
	s := realServer(t)
	if err := s.sql("shop", standingFixture); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		for _, test := range standingCases {
			t.Run(mode.String()+"/"+test.name, func(t *testing.T) {
				p := startProxy(t, s, proxyOptions{sqlRules: true})
				conn := p.connect(t, mode)
				for _, statement := range test.statements {
					_, _ = conn.Exec(context.Background(), statement) // some are meant to fail
				}
				got := p.lastContext(t)
				if got.Unknown || got.Role != test.role || got.SearchPath != test.path || got.Database != "shop" {
					t.Errorf("decided as %+v, want role %s and path %s", got, test.role, test.path)
				}
			})
		}
	}
}

// lastContext is that of the statement that was asked about last.
func (p *proxy) lastContext(t *testing.T) operation.Context {
	t.Helper()
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	return p.guard.seen[len(p.guard.seen)-1].Context
}

func TestPipelineKnowsTheSearchPathThatItSet(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	conn := p.connect(t, pgx.QueryExecModeExec)
	batch := &pgx.Batch{}
	for _, statement := range []string{"SELECT 1", "SET search_path = piped", "SELECT 2"} {
		batch.Queue(statement)
	}
	if err := conn.SendBatch(context.Background(), batch).Close(); err != nil {
		t.Fatal(err)
	}
	if got := p.lastContext(t); got.SearchPath != "piped" || got.Unknown {
		t.Errorf("decided as %+v", got)
	}
}

// A question of ours must not be the first query of a transaction, nor make a
// pipeline of a single statement.
func TestQuestionsAboutTheRoleDisturbNothing(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{sqlRules: true})
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		conn := p.connect(t, mode)
		for _, statement := range []string{
			"BEGIN", "SET search_path = pg_catalog", "SET work_mem = '5MB'", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT 1", "COMMIT",
			"SET search_path = public", "VACUUM pg_catalog.pg_am",
			"SET search_path = pg_catalog", "COPY (SELECT 1) TO STDOUT",
		} {
			if _, err := conn.Exec(context.Background(), statement); err != nil {
				t.Errorf("%v: %s: %v", mode, statement, err)
			}
		}
	}
}

// A trigger changes the search_path, which the text of INSERT does not show.
func TestApprovedStatementIsRefusedUnderAnotherSearchPath(t *testing.T) {
	s := realServer(t)
	if err := s.sql("shop", standingFixture); err != nil {
		t.Fatal(err)
	}
	approving := func(number uint64) func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
		return func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
			d := protocol.Decision{Effect: protocol.Allow}
			if strings.HasPrefix(string(op.Text.Reveal()), "DELETE") {
				d.Approval, d.Decider = number, "ann"
			}
			return d, nil
		}
	}
	for number, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		p := startProxy(t, s, proxyOptions{decide: approving(uint64(7 * (number / 2)))}) // 0: approved beforehand
		conn := p.connect(t, mode)
		if _, err := conn.Exec(context.Background(), "DELETE FROM moved.straying"); err != nil {
			t.Fatalf("%v: an approved statement failed: %v", mode, err)
		}
		if _, err := conn.Exec(context.Background(), "INSERT INTO moved.straying VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		_, err := conn.Exec(context.Background(), "DELETE FROM moved.straying")
		if err == nil || !strings.Contains(err.Error(), "58000") || !strings.Contains(err.Error(), "not what was approved") {
			t.Errorf("%v: got %v, want a refusal", mode, err)
		}
		if _, err := conn.Exec(context.Background(), "DELETE FROM moved.straying"); err != nil {
			t.Errorf("%v: asked again with the path as it is: %v", mode, err)
		}
		if path := p.lastContext(t).SearchPath; path != "strayed" {
			t.Errorf("%v: the second question shows %s", mode, path)
		}
	}
}

// A failed transaction answers no question, and must still be ended.
func TestFailedTransactionEndsThoughTheRoleIsNotKnown(t *testing.T) {
	const fails = "DO $$ BEGIN PERFORM set_config('role', 'clerk', false), 1/0; END $$"
	p := startProxy(t, realServer(t), proxyOptions{sqlRules: true})
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		conn := p.connect(t, mode)
		for _, statement := range []string{"BEGIN", fails, "ROLLBACK", "SELECT 1"} {
			_, err := conn.Exec(context.Background(), statement)
			if (err != nil) != (statement == fails) {
				t.Errorf("%v: %s: %v", mode, statement, err)
			}
		}
	}
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	if !slices.ContainsFunc(p.guard.seen, func(o operation.Operation) bool { return o.Context.Unknown && string(o.Text.Reveal()) == "ROLLBACK" }) {
		t.Error("no ROLLBACK was decided without knowing the role, so that this test shows nothing")
	}
}
