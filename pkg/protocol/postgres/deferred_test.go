package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// TestRowsThatWaitForTheCommitAreCounted has a trigger that writes a hundred rows
// once the transaction commits.
func TestRowsThatWaitForTheCommitAreCounted(t *testing.T) {
	ctx := context.Background()
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			s, p := orders(t, 10)
			conn := p.connect(t, mode)
			before := ordered(t, s)
			idle := func(when string, err error) {
				t.Helper()
				wantState(t, err, "42501")
				if err == nil || !strings.Contains(err.Error(), "it changed 10") {
					t.Errorf("%s: got %v", when, err)
				}
				if status := conn.PgConn().TxStatus(); status != 'I' {
					t.Errorf("%s: the client believes the session is in %q", when, status)
				}
				if after := ordered(t, s); after != before {
					t.Errorf("%s: the server has %s, and had %s", when, after, before)
				}
			}
			_, err := conn.Exec(ctx, "INSERT INTO ord.late VALUES ($1)", 1)
			idle("by itself", err)
			batch := &pgx.Batch{}
			batch.Queue("INSERT INTO ord.late VALUES (1)")
			batch.Queue("SELECT 1")
			idle("in a pipeline", conn.SendBatch(ctx, batch).Close())
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(ctx, "INSERT INTO ord.late VALUES ($1)", 1); err != nil {
				t.Fatal(err)
			}
			idle("at a COMMIT", tx.Commit(ctx))
			if _, err := conn.Exec(ctx, "DELETE FROM ord.lines WHERE b = $1", 1); err != nil {
				t.Errorf("after all that: %v", err)
			}
		})
	}
}

// TestCommitThatFailsFailsAsItDoes has foreign keys that are checked at the commit.
func TestCommitThatFailsFailsAsItDoes(t *testing.T) {
	ctx := context.Background()
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			_, p := orders(t, 10)
			conn := p.connect(t, mode)
			for _, broken := range []bool{true, false, true} {
				tx, err := conn.Begin(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.Exec(ctx, "INSERT INTO ord.parts VALUES ($1)", 77); err != nil {
					t.Fatal(err)
				}
				if !broken { // what it refers to comes later
					if _, err := tx.Exec(ctx, "INSERT INTO ord.orders VALUES ($1)", 77); err != nil {
						t.Fatal(err)
					}
				}
				err = tx.Commit(ctx)
				if broken {
					wantState(t, err, "23503")
				} else if err != nil {
					t.Error(err)
				}
				if status := conn.PgConn().TxStatus(); status != 'I' {
					t.Errorf("the client believes the session is in %q", status)
				}
				if !broken {
					if _, err := conn.Exec(ctx, "DELETE FROM ord.parts"); err != nil {
						t.Error(err)
					}
					if _, err := conn.Exec(ctx, "DELETE FROM ord.orders WHERE a = 77"); err != nil {
						t.Error(err)
					}
				}
			}
			_, err := conn.Exec(ctx, "INSERT INTO ord.parts VALUES ($1)", 77)
			wantState(t, err, "23503")
			batch := &pgx.Batch{}
			batch.Queue("INSERT INTO ord.parts VALUES (78)")
			batch.Queue("INSERT INTO ord.orders VALUES (78)")
			if err := conn.SendBatch(ctx, batch).Close(); err != nil {
				t.Errorf("a pipeline that is whole at its end: %v", err)
			}
		})
	}
}

// TestBlockThatAPipelineBeginsIsNotItsEnd sends BEGIN and a statement with one
// Sync, as some drivers do: nothing is committed there.
func TestBlockThatAPipelineBeginsIsNotItsEnd(t *testing.T) {
	s, p := orders(t, 10)
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	front := conn.PgConn().Frontend()
	run := func(texts ...string) (said []string) {
		for _, text := range texts {
			front.Send(&pgproto3.Parse{Query: text})
			front.Send(&pgproto3.Bind{})
			front.Send(&pgproto3.Execute{})
		}
		front.Send(&pgproto3.Sync{})
		if err := front.Flush(); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := front.Receive()
			if err != nil {
				t.Fatal(err)
			}
			switch m := m.(type) {
			case *pgproto3.CommandComplete:
				said = append(said, string(m.CommandTag))
			case *pgproto3.ErrorResponse:
				said = append(said, m.Code)
			case *pgproto3.ReadyForQuery:
				return append(said, string(m.TxStatus))
			}
		}
	}
	for _, step := range []struct{ run, want string }{
		{"BEGIN;INSERT INTO ord.parts VALUES (79)", "BEGIN;INSERT 0 1;T"},
		{"INSERT INTO ord.orders VALUES (79);COMMIT", "INSERT 0 1;COMMIT;I"},
		{"BEGIN;INSERT INTO ord.late VALUES (1);COMMIT;SELECT 1", "BEGIN;INSERT 0 1;42501;I"},
		{"BEGIN;INSERT INTO ord.parts VALUES (80);COMMIT", "BEGIN;INSERT 0 1;23503;I"},
		{"INSERT INTO ord.late VALUES (1);COMMIT", "INSERT 0 1;42501;I"},
		{"INSERT INTO ord.late VALUES (1);ROLLBACK", "INSERT 0 1;ROLLBACK;I"},
		{"BEGIN;INSERT INTO ord.late VALUES (1)", "BEGIN;INSERT 0 1;T"},
		{"ROLLBACK", "ROLLBACK;I"},
		// What ReadyForQuery said last is not what is so.
		{"BEGIN;SELECT 1", "BEGIN;SELECT 1;T"},
		{"COMMIT;INSERT INTO ord.late VALUES (1)", "COMMIT;INSERT 0 1;42501;I"},
		{"BEGIN;SELECT 1/0", "BEGIN;22012;E"},
		{"ROLLBACK;BEGIN;INSERT INTO ord.late VALUES (1);COMMIT", "ROLLBACK;BEGIN;INSERT 0 1;42501;I"},
		{"INSERT INTO ord.late VALUES (1);CALL ord.commits()", "INSERT 0 1;42501;I"},
		{"INSERT INTO ord.late VALUES (1);REINDEX TABLE ord.log", "INSERT 0 1;42501;I"},
		{"BEGIN;INSERT INTO ord.parts VALUES (81)", "BEGIN;INSERT 0 1;T"},
		{"SELECT 1/0", "22012;E"},
		{"COMMIT", "ROLLBACK;I"},
		{"BEGIN;SELECT 1/0", "BEGIN;22012;E"}, // a refusal before leaves nothing behind
		{"ROLLBACK", "ROLLBACK;I"},
	} {
		if got := strings.Join(run(strings.Split(step.run, ";")...), ";"); got != step.want {
			t.Errorf("%s: got %s, want %s", step.run, got, step.want)
		}
	}
	if got := ordered(t, s); !strings.HasPrefix(got, "6|94|50|0|0|") {
		t.Errorf("the server has %s", got)
	}
}

// TestNobodyCommitsRoundTheCount are ways to commit what is deferred.
func TestNobodyCommitsRoundTheCount(t *testing.T) {
	late := []pgproto3.FrontendMessage{&pgproto3.Parse{Query: "INSERT INTO ord.late VALUES (1)"}, &pgproto3.Bind{}, &pgproto3.Execute{}}
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"a Query behind an Execute":        append(late[:3:3], &pgproto3.Query{String: "SELECT 1"}, &pgproto3.Sync{}),
		"a function call behind it":        append(late[:3:3], &pgproto3.FunctionCall{Function: 1299}, &pgproto3.Sync{}), // now()
		"a Flush, and then a Sync":         append(late[:3:3], &pgproto3.Flush{}, &pgproto3.Sync{}),
		"a COMMIT with others in one text": {&pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "INSERT INTO ord.late VALUES (1)"}, &pgproto3.Query{String: "SELECT 1; COMMIT; SELECT 2"}},
		"a chain":                          {&pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "INSERT INTO ord.late VALUES (1)"}, &pgproto3.Query{String: "COMMIT AND CHAIN"}},
		"END":                              {&pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "INSERT INTO ord.late VALUES (1)"}, &pgproto3.Query{String: "eNd"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := orders(t, 10)
			front := p.connect(t, pgx.QueryExecModeSimpleProtocol).PgConn().Frontend()
			for _, m := range messages {
				front.Send(m)
			}
			if err := front.Flush(); err != nil {
				t.Fatal(err)
			}
			refused := false
			for ended := false; !ended; {
				m, err := front.Receive()
				if err != nil {
					t.Fatal(err)
				}
				switch m := m.(type) {
				case *pgproto3.ErrorResponse:
					refused = refused || strings.Contains(m.Message, `refused by rule "few-rows"`)
				case *pgproto3.ReadyForQuery:
					ended = refused
				}
			}
			p.guard.mu.Lock()
			recorded := 0
			for _, outcome := range p.guard.outcomes {
				if outcome.Status == protocol.Refused && outcome.Rule == "few-rows" {
					recorded++
				}
			}
			p.guard.mu.Unlock()
			if recorded != 1 {
				t.Errorf("%d operations are recorded as refused", recorded)
			}
			if got := ordered(t, s); !strings.HasPrefix(got, "5|15|50|0|0|") {
				t.Errorf("the server has %s", got)
			}
		})
	}
}
