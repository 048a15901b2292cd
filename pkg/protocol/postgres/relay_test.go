package postgres_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestStatementIsRelayed(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	out, errs, code := p.psql(t, "-At", "-c", "SELECT 40+2", "-c", "SHOW application_name", "-c", "SELECT current_user")
	if code != 0 || !strings.HasPrefix(out, "42\nsluice/") || !strings.HasSuffix(out, "\napp\n") {
		t.Fatalf("psql exited %d with %q, %q", code, out, errs)
	}
}

func TestPgbenchRunsInEveryMode(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	pgbench(t, p, "-i", "-s", "1", "-q")
	for _, mode := range []string{"simple", "extended", "prepared"} {
		t.Run(mode, func(t *testing.T) {
			out := pgbench(t, p, "-M", mode, "-c", "4", "-j", "2", "-t", "100")
			if !strings.Contains(out, "number of transactions actually processed: 400/400") {
				t.Fatalf("pgbench said %s", out)
			}
		})
	}
}

func pgbench(t *testing.T, p *proxy, args ...string) string {
	t.Helper()
	cmd := exec.Command("pgbench", append(args, "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "job", "shop")...)
	cmd.Env = append(os.Environ(), "PGPASSWORD=none")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pgbench: %v: %s", err, out)
	}
	return string(out)
}

var execModes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// connect opens a pgx session in one exec mode.
func (p *proxy) connect(t testing.TB, mode pgx.QueryExecMode) *pgx.Conn {
	t.Helper()
	return p.connectAs(t, "job", "none", mode)
}

func (p *proxy) connectAs(t testing.TB, user, password string, mode pgx.QueryExecMode) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/shop?sslmode=disable", user, password, p.port))
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // it may be broken on purpose
	return conn
}

func TestPgxRunsInEveryExecMode(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			ctx := context.Background()
			conn := p.connect(t, mode)
			for i := range 5 {
				var sum int
				var text string
				if err := conn.QueryRow(ctx, "SELECT $1::int4+1, $2::text", i, "it's").Scan(&sum, &text); err != nil {
					t.Fatal(err)
				}
				if sum != i+1 || text != "it's" {
					t.Fatalf("got %d, %q", sum, text)
				}
			}
			if _, err := conn.Exec(ctx, "SELECT 1/$1::int4", 0); err == nil || !strings.Contains(err.Error(), "22012") {
				t.Fatalf("division by zero gave %v", err)
			}
			batch := &pgx.Batch{}
			batch.Queue("SELECT 1")
			batch.Queue("SELECT $1::text", "two")
			if err := conn.SendBatch(ctx, batch).Close(); err != nil {
				t.Fatalf("batch: %v", err)
			}
			checkCopy(t, conn)
		})
	}
}

func checkCopy(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	ctx := context.Background()
	if _, err := conn.Exec(ctx, "CREATE TEMP TABLE copied (a int4, b text)"); err != nil {
		t.Fatal(err)
	}
	rows := make([][]any, 5000)
	for i := range rows {
		rows[i] = []any{i, strings.Repeat("x", 100)}
	}
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"a", "b"}, pgx.CopyFromRows(rows))
	if err != nil || n != 5000 {
		t.Fatalf("copied %d rows, %v", n, err)
	}
	var out strings.Builder
	if _, err := conn.PgConn().CopyTo(ctx, &out, "COPY copied TO STDOUT"); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 5000 {
		t.Fatalf("got %d lines back", lines)
	}
}
