package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// shaping is a proxy that keeps the shapes of each statement on orders.
type shaping struct {
	*proxy
	mu     sync.Mutex
	shapes [][][32]byte
}

func newShaping(t *testing.T, s *server) *shaping {
	t.Helper()
	plugin, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	kept := &shaping{}
	kept.proxy = startProxy(t, s, proxyOptions{sqlRules: true, decide: func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		if op.Kind == operation.Statement {
			kept.mu.Lock()
			defer kept.mu.Unlock()
			kept.shapes = append(kept.shapes, plugin.(protocol.Shaper).Shapes(op))
		}
		return protocol.Decision{Effect: protocol.Allow, Rule: "ddl", Decider: "ada", Reason: "ada reviewed it in the file sha256 ab"}, nil
	}})
	return kept
}

// last are the shapes of the newest statement.
func (s *shaping) last() [][32]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shapes) == 0 {
		return nil
	}
	return s.shapes[len(s.shapes)-1]
}

// TestShapesAreThoseOfTheReviewedFile sends what was reviewed, and what only
// looks like it, in both protocols to a real server.
func TestShapesAreThoseOfTheReviewedFile(t *testing.T) {
	s := reachDatabase(t, "shapes")
	p := newShaping(t, s)
	c, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://job@127.0.0.1:%d/shapes?sslmode=disable", p.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	reviewed, problems := sqltext.New().Exactly([]byte("UPDATE items SET id = 5 WHERE of_order = 7;\nUPDATE items SET id = $1 WHERE of_order = $2;\nALTER TABLE items ADD note text;"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	known := map[[32]byte]bool{}
	for _, r := range reviewed {
		known[r.Digest] = true
	}
	literal, params, simple, extended := "UPDATE items SET id = 5 WHERE of_order = 7", "UPDATE items SET id = $1 WHERE of_order = $2", pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeDescribeExec
	for _, test := range []struct {
		name string
		text string
		args []any
		want int // statements, all reviewed; 0: not all of them are
	}{
		{"simple", literal, []any{simple}, 1},
		{"extended", literal, []any{extended}, 1},
		{"parameters", params, []any{extended, 1, 2}, 1},
		{"other values", params, []any{extended, 8, nil}, 1},
		{"space and comments", "UPDATE  items\nSET id=5 /* x */ WHERE of_order = 7 -- y\n;", []any{simple}, 1},
		{"two that were reviewed", literal + "; ALTER TABLE items ADD note text", []any{simple}, 2},
		{"a literal changed", "UPDATE items SET id = 6 WHERE of_order = 7", []any{simple}, 0},
		{"a literal where the file has a parameter", "UPDATE items SET id = 1 WHERE of_order = 2", []any{simple}, 0},
		{"parameters where the file has literals", "UPDATE items SET id = 5 WHERE of_order = $1", []any{extended, 7}, 0},
		{"E-string", "UPDATE items SET id = 5 WHERE of_order = E'7'", []any{simple}, 0},
		{"U&-string", `UPDATE items SET id = 5 WHERE of_order = U&'\0037'`, []any{simple}, 0},
		{"a quoted name", `UPDATE "items" SET id = 5 WHERE of_order = 7`, []any{simple}, 0},
		{"one more statement", literal + "; DELETE FROM items", []any{simple}, 0},
		{"one more before", "DELETE FROM items; " + literal, []any{simple}, 0},
		{"a comment that is none", literal + " /* ; */ ; DELETE FROM items -- */", []any{simple}, 0},
		{"a block of code", "DO $$ BEGIN " + literal + "; END $$", []any{simple}, 0},
		{"prepared", "PREPARE p AS " + literal, []any{simple}, 0},
	} {
		before := len(p.shapes)
		_, _ = c.Exec(t.Context(), test.text, test.args...) // the server may refuse it
		shapes := p.last()
		if len(p.shapes) != before+1 {
			t.Errorf("%s: %d statements were asked about", test.name, len(p.shapes)-before)
			continue
		}
		all := len(shapes) > 0
		for _, digest := range shapes {
			all = all && known[digest]
		}
		if all != (test.want > 0) || all && len(shapes) != test.want {
			t.Errorf("%s: %d statements, all reviewed %v", test.name, len(shapes), all)
		}
	}
}

func TestParameterOfAUsersTypeHasNoShape(t *testing.T) {
	s := reachDatabase(t, "shapes")
	p := newShaping(t, s)
	c, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://job@127.0.0.1:%d/shapes?sslmode=disable", p.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	var mood uint32
	if err := c.QueryRow(t.Context(), "SELECT 'mood'::regtype::oid").Scan(&mood); err != nil {
		t.Fatal(err)
	}
	for oid, want := range map[uint32]int{mood: 0, 25: 1} {
		result := c.PgConn().ExecParams(t.Context(), "DELETE FROM moods WHERE m::text = $1::text", [][]byte{[]byte("good")}, []uint32{oid}, nil, nil).Read()
		if result.Err != nil || len(p.last()) != want {
			t.Errorf("type %d: %d shapes, %v", oid, len(p.last()), result.Err)
		}
	}
}

func TestClientIsToldWhoReviewedItsStatement(t *testing.T) {
	p := newShaping(t, realServer(t))
	if _, said, _ := p.psql(t, "-c", "SELECT 1"); said != "NOTICE:  sluice: ada reviewed it in the file sha256 ab\n" {
		t.Errorf("psql said %q", said)
	}
}
