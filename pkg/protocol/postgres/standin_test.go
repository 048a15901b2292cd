package postgres_test

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/mask"
)

// typed is a table of values of every sort that a mask can meet.
func typed(t *testing.T, s *server) {
	t.Helper()
	setUp(
		t, s,
		"DROP SCHEMA public CASCADE", "DROP SCHEMA IF EXISTS other CASCADE", "CREATE SCHEMA public AUTHORIZATION app", "SET ROLE app",
		"CREATE DOMAIN mail AS text",
		"CREATE TABLE typed (id int, a_text text, a_mail mail, a_bpchar char(12), a_json json, a_jsonb jsonb, a_uuid uuid, a_int4 int, a_int8 bigint,"+
			" a_numeric numeric, a_bytea bytea, a_array text[], a_numbers int[], a_time timestamptz, a_date date, a_bool bool, a_float float8)",
		`INSERT INTO typed VALUES (1, 'value', 'value', 'value', '{"k": "value"}', '"value"', 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee', 4711, 471147114711,`+
			` 47.11, '\x76616c7565', '{value}', '{4711}', '2001-02-03 04:05:06Z', '2001-02-03', true, 47.11)`,
	)
}

var typedColumns = []string{
	"a_text", "a_mail", "a_bpchar", "a_json", "a_jsonb", "a_uuid", "a_int4", "a_int8", "a_numeric", "a_bytea", "a_array", "a_numbers",
	"a_time", "a_date", "a_bool", "a_float",
}

// TestStandInsSuitTheType asks for each column in text and in binary format and
// lets the client decode what it gets.
func TestStandInsSuitTheType(t *testing.T) {
	s := realServer(t)
	typed(t, s)
	null := `^<nil>$`
	digits := `[0-9a-f]{32}`
	for _, test := range []struct {
		method mask.Method
		want   map[string]string // patterns of what fmt prints of the value; without one null
	}{
		{mask.Redact, map[string]string{
			"a_text": `^\[redacted\]$`, "a_mail": `^\[redacted\]$`, "a_bpchar": `^\[redacted\]$`, "a_json": `^\[redacted\]$`, "a_jsonb": `^\[redacted\]$`,
			"a_uuid": `^\[0( 0){15}\]$`, "a_bytea": `^\[91 114 101 100 97 99 116 101 100 93\]$`, "a_array": `^\[\]$`, "a_numbers": `^\[\]$`,
		}},
		{mask.Null, nil},
		{mask.Hash, map[string]string{
			"a_text": digits, "a_mail": digits, "a_bpchar": digits, "a_json": digits, "a_jsonb": digits,
			"a_uuid": `^\[\d+( \d+){15}\]$`, "a_int4": `^\d+$`, "a_int8": `^\d+$`, "a_bytea": `^\[\d+( \d+){15}\]$`,
		}},
		{mask.Partial, map[string]string{
			"a_text": `^\*{8}e$`, "a_mail": `^\*{8}e$`, "a_bpchar": `^\*{8} {4}$`, "a_json": `^\[redacted\]$`, "a_jsonb": `^\*{8}e$`,
			"a_uuid": `^\[0( 0){15}\]$`, "a_bytea": `^\[91 `, "a_array": `^\[\]$`, "a_numbers": `^\[\]$`,
		}},
	} {
		t.Run(string(test.method), func(t *testing.T) {
			p := startProxy(t, s, proxyOptions{masks: columnsOf("typed", test.method, typedColumns...), maskKey: []byte("one key for all")})
			conn := p.connect(t, pgx.QueryExecModeExec)
			for _, column := range typedColumns {
				want := test.want[column]
				if want == "" {
					want = null
				}
				var seen [2]string
				for format := range seen {
					seen[format] = fmt.Sprint(decoded(t, conn, "SELECT "+column+" FROM typed", int16(format)))
				}
				if !regexp.MustCompile(want).MatchString(seen[0]) || seen[0] != seen[1] {
					t.Errorf("%s: got %q as text and %q in binary, want %s", column, seen[0], seen[1], want)
				}
			}
		})
	}
}

// columnsOf masks columns of a table in public.
func columnsOf(table string, method mask.Method, names ...string) []mask.Column {
	var columns []mask.Column
	for _, name := range names {
		columns = append(columns, mask.Column{Schema: "public", Table: table, Column: name, Mask: "typed", Method: method})
	}
	return columns
}

// decoded returns the one value of a query, as pgx reads it.
func decoded(t *testing.T, conn *pgx.Conn, query string, format int16) any {
	t.Helper()
	rows, err := conn.Query(context.Background(), query, pgx.QueryExecModeDescribeExec, pgx.QueryResultFormats{format})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatalf("%s: no row, %v", query, rows.Err())
	}
	values, err := rows.Values()
	if err != nil {
		t.Fatalf("%s in format %d: %v", query, format, err)
	}
	return values[0]
}

func TestHashIsTheSameInEverySession(t *testing.T) {
	s := realServer(t)
	typed(t, s)
	var seen []any
	for range 2 {
		p := startProxy(t, s, proxyOptions{masks: columnsOf("typed", mask.Hash, "a_text"), maskKey: []byte("one key for all")})
		seen = append(seen, decoded(t, p.connect(t, pgx.QueryExecModeExec), "SELECT a_text FROM typed", 0))
	}
	if seen[0] != seen[1] {
		t.Errorf("got %v and %v", seen[0], seen[1])
	}
}

func TestValuesAtJSONPathsAreHidden(t *testing.T) {
	s := realServer(t)
	setUp(
		t, s,
		"DROP SCHEMA public CASCADE", "DROP SCHEMA IF EXISTS other CASCADE", "CREATE SCHEMA public AUTHORIZATION app", "SET ROLE app",
		"CREATE TABLE docs (id int, a jsonb, b json, c text, d text)",
		`INSERT INTO docs SELECT 1, j::jsonb, j::json, j, 'no JSON, but a@b.example' FROM (VALUES ('{"email": "a@b.example", "x": [{"email": "keep"}]}')) v(j)`,
	)
	var paths []mask.Path
	for _, column := range []string{"a", "b", "c", "d"} {
		paths = append(paths, mask.Path{
			Column: mask.Column{Schema: "public", Table: "docs", Column: column, Mask: "m", Method: mask.Redact}, Keys: []string{"email"},
		})
	}
	p := startProxy(t, s, proxyOptions{paths: paths})
	conn := p.connect(t, pgx.QueryExecModeExec).PgConn()
	for _, format := range []int16{0, 1} {
		result := conn.ExecParams(context.Background(), "SELECT a, b, c, d FROM docs", nil, nil, nil, []int16{format}).Read()
		if result.Err != nil || len(result.Rows) != 1 {
			t.Fatal(result.Err)
		}
		row := result.Rows[0]
		if format == 1 {
			row[0] = row[0][1:]
		}
		for i, got := range row {
			want := `{"email": "[redacted]", "x": [{"email": "keep"}]}`
			switch i {
			case 0:
				want = `{"x": [{"email": "keep"}], "email": "[redacted]"}`
			case 3:
				want = "[redacted]"
			}
			if string(got) != want {
				t.Errorf("in format %d column %d is %s, want %s", format, i, got, want)
			}
		}
	}
}
