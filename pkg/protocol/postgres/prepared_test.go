package postgres_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// denyKind denies what holds a statement of a kind.
func denyKind(kind string) func(context.Context, *operation.Operation, func(protocol.Waiting)) (protocol.Decision, error) {
	return func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		if op.SQL != nil && slices.ContainsFunc(op.SQL.Statements, func(s operation.SQLStatement) bool { return s.Kind == kind }) {
			return protocol.Decision{Rule: "no-" + kind}, nil
		}
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
}

// A statement that a Parse message prepared was never decided about: EXECUTE
// and FETCH reach it from SQL.
func TestPreparedStatementIsDecidedWhenSQLRunsIt(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS marks", "CREATE TABLE marks (a int)", "ALTER TABLE marks OWNER TO app")
	p := startProxy(t, s, proxyOptions{decide: denyKind("INSERT"), sqlRules: true})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	ctx := context.Background()
	if _, err := conn.PgConn().Prepare(ctx, "quiet", "INSERT INTO marks VALUES (1) RETURNING a", nil); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Exec(ctx, "EXECUTE quiet")
	wantState(t, err, "42501")
	wantCount(t, conn, "marks", 0)
}

func TestUnreadableStatementIsRefusedWhereRulesApply(t *testing.T) {
	s := realServer(t)
	for _, test := range []struct {
		sqlRules bool
		state    string
	}{{true, "42501"}, {false, "42601"}} {
		p := startProxy(t, s, proxyOptions{sqlRules: test.sqlRules})
		conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
		_, err := conn.Exec(context.Background(), "SELEKT 1")
		wantState(t, err, test.state)
	}
}

// With another encoding or string syntax, a text may mean what our parser does
// not see.
func TestTextIsReadAsTheServerReadsIt(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{decide: denyKind("DELETE"), sqlRules: true})
	ctx := context.Background()
	t.Run("standard_conforming_strings", func(t *testing.T) {
		conn := p.connect(t, pgx.QueryExecModeExec)
		if _, err := conn.Exec(ctx, "SET standard_conforming_strings = off"); err != nil {
			t.Fatal(err)
		}
		_, err := conn.PgConn().Exec(ctx, `SELECT '\'; DELETE FROM pg_class WHERE false; --'`).ReadAll()
		if err != nil {
			t.Fatalf("one string, as the server reads it: %v", err)
		}
		_, err = conn.PgConn().Exec(ctx, `SELECT '\\'; DELETE FROM pg_class WHERE false; --'`).ReadAll()
		wantState(t, err, "42501")
	})
	t.Run("client_encoding", func(t *testing.T) {
		conn := p.connect(t, pgx.QueryExecModeExec)
		if _, err := conn.Exec(ctx, "SET client_encoding = 'SJIS'"); err != nil {
			t.Fatal(err)
		}
		_, err := conn.PgConn().Exec(ctx, "SELECT '\x83\\'").ReadAll()
		wantState(t, err, "42501")
	})
	t.Run("in one pipeline", func(t *testing.T) {
		conn := p.connect(t, pgx.QueryExecModeExec)
		batch := &pgx.Batch{}
		batch.Queue("SET standard_conforming_strings = off")
		batch.Queue(`SELECT '\\'`)
		wantState(t, conn.SendBatch(ctx, batch).Close(), "42501")
	})
}

func TestStatementsAreBounded(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{statements: 100})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	ctx := context.Background()
	var err error
	for i := 0; i < 200 && err == nil; i++ {
		_, err = conn.PgConn().Prepare(ctx, "s"+string(rune('a'+i%26))+string(rune('a'+i/26)), "SELECT 1", nil)
	}
	wantState(t, err, "53400")
	if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
		t.Fatalf("after the refusal: %v", err)
	}
}

// SQL and messages share the names of statements and cursors: what SQL puts
// under a name must not be taken for what a message had put there.
func TestNameThatSQLTookOverIsNotTrusted(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
	ctx := context.Background()
	t.Run("statement", func(t *testing.T) {
		conn := p.connect(t, pgx.QueryExecModeSimpleProtocol).PgConn()
		if _, err := conn.Prepare(ctx, "s", "SELECT 'x'::text", nil); err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{"DEALLOCATE s", "PREPARE s AS SELECT email||'' FROM customers"} {
			_, _ = conn.Exec(ctx, statement).ReadAll() // a refusal would do as well
		}
		conn.ExecPrepared(ctx, "s", nil, nil, nil).Read()
		if found := leaked(p.received(), ""); found != "" {
			t.Fatalf("the client received %s", found)
		}
	})
	t.Run("cursor", func(t *testing.T) {
		conn := p.connect(t, pgx.QueryExecModeSimpleProtocol).PgConn()
		front := conn.Frontend()
		if _, err := conn.Exec(ctx, "BEGIN").ReadAll(); err != nil {
			t.Fatal(err)
		}
		front.Send(&pgproto3.Parse{Query: "SELECT 'x'::text"})
		front.Send(&pgproto3.Bind{DestinationPortal: "k"})
		front.Send(&pgproto3.Describe{ObjectType: 'P', Name: "k"})
		front.Send(&pgproto3.Sync{})
		untilReady(t, front)
		for _, statement := range []string{"CLOSE k", "DECLARE k CURSOR FOR SELECT email||'' FROM customers"} {
			front.Send(&pgproto3.Query{String: statement})
			untilReady(t, front)
		}
		front.Send(&pgproto3.Execute{Portal: "k"})
		front.Send(&pgproto3.Sync{})
		untilReady(t, front)
		if found := leaked(p.received(), ""); found != "" {
			t.Fatalf("the client received %s", found)
		}
	})
}

func untilReady(t *testing.T, front *pgproto3.Frontend) {
	t.Helper()
	if err := front.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := front.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if _, ready := m.(*pgproto3.ReadyForQuery); ready {
			return
		}
	}
}

// A refused query was described to the server under no name. What a message
// had prepared under no name is then no longer what the server would run.
func TestUnnamedStatementIsNotConfusedWithAProbe(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
	front := p.connect(t, pgx.QueryExecModeSimpleProtocol).PgConn().Frontend()
	front.Send(&pgproto3.Parse{Query: "SELECT 'x'::text"})
	front.Send(&pgproto3.Sync{})
	untilReady(t, front)
	front.Send(&pgproto3.Query{String: "SELECT email||'' FROM customers"})
	untilReady(t, front)
	front.Send(&pgproto3.Bind{})
	front.Send(&pgproto3.Execute{})
	front.Send(&pgproto3.Sync{})
	untilReady(t, front)
	if found := leaked(p.received(), ""); found != "" {
		t.Fatalf("the client received %s", found)
	}
}

// A pipeline longer than what we keep makes its client wait, not fail.
func TestLongPipelineIsAnsweredWhole(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	front := p.connect(t, pgx.QueryExecModeSimpleProtocol).PgConn().Frontend()
	const n = 20000
	sent := make(chan error, 1)
	go func() {
		front.Send(&pgproto3.Parse{Name: "one", Query: "SELECT 1"})
		for range n {
			front.Send(&pgproto3.Bind{PreparedStatement: "one"})
			front.Send(&pgproto3.Execute{})
		}
		front.Send(&pgproto3.Sync{})
		sent <- front.Flush()
	}()
	rows := 0
	for {
		m, err := front.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m.(type) {
		case *pgproto3.DataRow:
			rows++
		case *pgproto3.ErrorResponse:
			t.Fatalf("after %d rows: %+v", rows, m)
		case *pgproto3.ReadyForQuery:
			if err := <-sent; err != nil || rows != n {
				t.Fatalf("%d rows, %v", rows, err)
			}
			return
		}
	}
}
