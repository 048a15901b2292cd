package postgres_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// dialogue is what one client program does: simple and extended queries,
// errors in every state, COPY, cursors, notices, pipelines.
func dialogue(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	ctx := context.Background()
	for _, statement := range []string{
		"", "SELECT 1", "SELECT 1; SELECT 'two'; SELECT NULL", "SELECT 1/0", "BEGIN; SELECT 1", "SELECT broken", "SELECT 2", "ROLLBACK",
		"DO $$BEGIN RAISE NOTICE 'noted'; END$$", "SET TimeZone = 'Asia/Tokyo'", "LISTEN here", "NOTIFY here, 'there'",
		"TRUNCATE d", "INSERT INTO d SELECT n, repeat('x', n) FROM generate_series(1, 300) n", "INSERT INTO d VALUES (1)",
		"SELECT * FROM d ORDER BY a", "COPY d TO STDOUT", "COPY (SELECT 1/0) TO STDOUT", "PREPARE p AS SELECT $1::int + 1", "EXECUTE p(1)", "DEALLOCATE p",
		"BEGIN; DECLARE k CURSOR FOR SELECT a FROM d ORDER BY a; FETCH 3 FROM k; COMMIT", "SELECT 'ü', 'it''s', E'\\t'", "VACUUM d", "SAVEPOINT none",
		"SELECT pg_backend_pid() > 0", "EXPLAIN (COSTS off) SELECT a FROM d WHERE a = 1",
	} {
		_, _ = conn.PgConn().Exec(ctx, statement).ReadAll() // errors are part of it
	}
	for i := range 3 {
		_, _ = conn.Exec(ctx, "SELECT $1::int4, $2::text, $3::float8", i, "x", 1.5) // pgx describes once
		_, _ = conn.Exec(ctx, "SELECT 1/$1::int4", 0)
	}
	batch := &pgx.Batch{}
	for i := range 20 {
		batch.Queue("SELECT $1::int4 + 1", i)
	}
	batch.Queue("SELECT 1/$1::int4", 0)
	batch.Queue("SELECT 'never'")
	_ = conn.SendBatch(ctx, batch).Close() // the error is part of it
	_, _ = conn.PgConn().CopyFrom(ctx, strings.NewReader("1\tone\n"), "COPY nothing FROM STDIN")
}

// TestBytesAreTheSameAsDirect runs the same program against the server and
// through an allow-all plug-in.
func TestBytesAreTheSameAsDirect(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS d", "CREATE TABLE d (a int PRIMARY KEY, b text)", "ALTER TABLE d OWNER TO app")
	p := startProxy(t, s, proxyOptions{})
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			direct := overheard(t, s.port, "app", "app-secret", mode)
			through := overheard(t, p.port, "app", "app-secret", mode)
			if len(direct) < 10000 {
				t.Fatalf("the server sent only %d bytes", len(direct))
			}
			if !bytes.Equal(direct, through) {
				at := 0
				for at < len(direct) && at < len(through) && direct[at] == through[at] {
					at++
				}
				from := max(0, at-60)
				t.Fatalf("byte %d differs (%d and %d bytes):\ndirect  %q\nthrough %q", at, len(direct), len(through),
					direct[from:min(len(direct), at+60)], through[from:min(len(through), at+60)])
			}
		})
	}
}

// listening keeps what a client reads after its login.
type listening struct {
	net.Conn
	heard *bytes.Buffer
}

func (l listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.heard.Write(b[:n])
	return n, err
}

// varies is the process id in a notification.
var varies = regexp.MustCompile(`(?s)A\x00\x00\x00.\x00\x00..here`)

func overheard(t *testing.T, port int, user, password string, mode pgx.QueryExecMode) []byte {
	t.Helper()
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/shop?sslmode=disable", user, password, port))
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	var heard bytes.Buffer
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		return listening{conn, &heard}, err
	}
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	heard.Reset()
	dialogue(t, conn)
	if err := conn.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return varies.ReplaceAll(heard.Bytes(), []byte("A here"))
}

func TestLargeMessagesStreamWithoutBeingHeld(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	cmd := exec.Command("psql", "-X", "-At", "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "job", "shop", "-c", "SELECT repeat('x', 200000000)")
	sum := md5.New()
	cmd.Stdout = sum
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	want := md5.New()
	if _, err := io.CopyN(want, repeated('x'), 200000000); err != nil {
		t.Fatal(err)
	}
	want.Write([]byte("\n"))
	if got := hex.EncodeToString(sum.Sum(nil)); got != hex.EncodeToString(want.Sum(nil)) {
		t.Fatalf("the value changed: %s", got)
	}
}

// repeated reads as one byte for ever.
type repeated byte

func (r repeated) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r)
	}
	return len(b), nil
}
