package postgres_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/mask"
)

const (
	secretToken = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
	secretCard  = "4111111111111111"
)

// detections look for everything.
func detections(method mask.Method) []mask.Detection {
	var all []mask.Detection
	for _, d := range mask.Detectors() {
		all = append(all, mask.Detection{Detector: d, Mask: "secrets", Method: method})
	}
	return all
}

// carriers bring a secret to the client by themselves.
var carriers = []string{
	"SELECT 'x " + secretToken + " y', 1", "SELECT 'x'::text, '" + secretToken + "'::varchar", "SELECT ARRAY['" + secretToken + "']",
	"SELECT ROW(1, '" + secretToken + "')", `SELECT '{"a": "` + secretToken + `"}'::json`, `SELECT '{"a": ["` + secretToken + `"]}'::jsonb`,
	"SELECT '" + secretToken + "'::bytea", "SELECT " + secretCard, "SELECT " + secretCard + "::numeric", `SELECT '{"a": ` + secretCard + `}'::jsonb`,
	"SELECT xmlelement(name a, '" + secretToken + "')", "SELECT * FROM (VALUES ('" + secretToken + "')) v(a)", "SELECT '" + secretToken + "'::int",
	"DO $$BEGIN RAISE NOTICE '" + secretToken + "'; END$$", "DO $$BEGIN RAISE EXCEPTION 'x' USING DETAIL = '" + secretToken + "'; END$$",
	"COPY (SELECT 1, 'x " + secretToken + "') TO STDOUT", "COPY (SELECT 1, '" + secretToken + "') TO STDOUT (FORMAT csv, HEADER)",
	"COPY (SELECT 1, '" + secretToken + "') TO STDOUT (FORMAT binary)", "LISTEN c", "NOTIFY c, '" + secretToken + "'",
	"SET application_name = '" + secretToken + "'", "DECLARE k CURSOR WITH HOLD FOR SELECT '" + secretToken + "'", "FETCH ALL FROM k",
}

func TestDetectedSecretsAreHiddenInEveryMode(t *testing.T) {
	s := realServer(t)
	for _, method := range []mask.Method{mask.Redact, mask.Null, mask.Hash} {
		p := startProxy(t, s, proxyOptions{detect: detections(method), tapped: true})
		for _, mode := range execModes {
			conn := p.connect(t, mode)
			for _, statement := range carriers {
				if conn.IsClosed() {
					conn = p.connect(t, mode)
				}
				runAll(conn, statement)
				received := p.received()
				for _, secret := range []string{secretToken, secretCard, "\\x" + "65794a68624763694f69"} {
					if bytes.Contains(received, []byte(secret)) {
						t.Errorf("%s, %s: %s: the client received %q", method, mode, statement, received)
					}
				}
			}
		}
	}
}

func TestDetectorsLeaveTheRestAlone(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{detect: detections(mask.Redact)})
	for _, test := range []struct{ statement, want string }{
		{"SELECT 'x " + secretToken + " y', 7", "x [redacted] y|7\n"},
		{"SELECT 'nothing here', 1700000000000000, '2001-02-03'::date", "nothing here|1700000000000000|2001-02-03\n"},
		{`SELECT '{"a": ` + secretCard + `, "b": 1}'::jsonb`, `{"a": "[redacted]", "b": 1}` + "\n"},
		{"COPY (SELECT 1, 'x " + secretToken + "' UNION ALL SELECT 2, 'y') TO STDOUT", "1\tx [redacted]\n2\ty\n"},
		{"SELECT count(*) FROM pg_class WHERE relname = 'pg_class'", "1\n"},
	} {
		out, errs, code := p.psql(t, "-qAt", "-c", test.statement)
		if code != 0 || out != test.want {
			t.Errorf("%s: psql exited %d with %q, want %q; %s", test.statement, code, out, test.want, errs)
		}
	}
}

func TestBinaryCopyWithoutItsSecretCanBeRead(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{detect: detections(mask.Redact)})
	conn := p.connect(t, pgx.QueryExecModeExec)
	var out bytes.Buffer
	ctx := context.Background()
	if _, err := conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT n, CASE n WHEN 2 THEN '"+secretToken+"' ELSE 'plain' END FROM generate_series(1,3) n) TO STDOUT (FORMAT binary)"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "CREATE TEMP TABLE back (n int, t text)"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().CopyFrom(ctx, strings.NewReader(out.String()), "COPY back FROM STDIN (FORMAT binary)"); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := conn.QueryRow(ctx, "SELECT string_agg(coalesce(t, 'null'), ',' ORDER BY n) FROM back").Scan(&got); err != nil || got != "plain,null,plain" {
		t.Errorf("got %q, %v", got, err)
	}
}
