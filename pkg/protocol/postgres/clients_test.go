package postgres_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

const jdbc = "/usr/share/java/postgresql.jar"

// TestClientProgramsSeeNoDifference runs programs over other people's drivers
// against the server and through an allow-all plug-in.
func TestClientProgramsSeeNoDifference(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	uri := "postgresql://app:app-secret@127.0.0.1:%d/shop?sslmode=disable"
	for _, client := range []struct {
		name string
		argv func(port int) []string
	}{
		{"psycopg2", func(port int) []string {
			return []string{"/usr/bin/python3", "testdata/clients/psycopg2_client.py", fmt.Sprintf(uri, port), filepath.Join(t.TempDir(), "copy")}
		}},
		{"psycopg", func(port int) []string {
			return []string{"/usr/bin/python3", "testdata/clients/psycopg_client.py", fmt.Sprintf(uri, port)}
		}},
		{"node-postgres", func(port int) []string {
			return []string{"node", "testdata/clients/node_client.js", fmt.Sprintf(uri, port)}
		}},
		{"jdbc", func(port int) []string {
			return []string{"java", "-cp", jdbc, "testdata/clients/Client.java", fmt.Sprintf("jdbc:postgresql://127.0.0.1:%d/shop?user=app&password=app-secret&sslmode=disable", port)}
		}},
	} {
		t.Run(client.name, func(t *testing.T) {
			direct, through := said(t, client.argv(s.port)), said(t, client.argv(p.port))
			if !bytes.Equal(direct, through) {
				t.Errorf("direct:\n%s\nthrough the plug-in:\n%s", direct, through)
			}
		})
	}
}

// said returns what a program prints; it must end well.
func said(t *testing.T, argv []string) []byte {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "NODE_PATH=/usr/local/lib/node-postgres")
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || len(out) < 100 {
		t.Fatalf("%s: %v: %s%s", argv[0], err, out, errs.Bytes())
	}
	return out
}

// restricted is the key that newer releases of pg_dump make up for each dump.
var restricted = regexp.MustCompile(`(?m)^\\(un)?restrict .*$`)

func TestDumpAndRestoreSeeNoDifference(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP SCHEMA IF EXISTS dumped CASCADE", "CREATE SCHEMA dumped AUTHORIZATION app",
		"CREATE TABLE dumped.parent (id int PRIMARY KEY, note text, raw bytea)",
		`INSERT INTO dumped.parent SELECT n, repeat('ü', n), decode(lpad(to_hex(n), 8, '0'), 'hex') FROM generate_series(1, 2000) n`,
		"CREATE TABLE dumped.child (id serial, parent int REFERENCES dumped.parent)", "CREATE VIEW dumped.seen AS SELECT count(*) FROM dumped.parent",
		"CREATE FUNCTION dumped.twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1'",
		"ALTER FUNCTION dumped.twice OWNER TO app", "ALTER TABLE dumped.parent OWNER TO app", "ALTER TABLE dumped.child OWNER TO app", "ALTER VIEW dumped.seen OWNER TO app")
	p := startProxy(t, s, proxyOptions{})
	dump := func(port int) []byte {
		return restricted.ReplaceAll(said(t, []string{"pg_dump", "--schema=dumped", fmt.Sprintf("postgresql://app:app-secret@127.0.0.1:%d/shop", port)}), nil)
	}
	direct := dump(s.port)
	if through := dump(p.port); !bytes.Equal(direct, through) {
		t.Fatalf("the dump differs: %d and %d bytes", len(direct), len(through))
	}
	file := filepath.Join(t.TempDir(), "shop.dump")
	uri := fmt.Sprintf("postgresql://app:app-secret@127.0.0.1:%d/shop", p.port)
	for _, argv := range [][]string{
		{"pg_dump", "--format=custom", "--schema=dumped", "--file", file, uri},
		{"pg_restore", "--clean", "--exit-on-error", "--dbname", uri, file},
	} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", argv[0], err, out)
		}
	}
	if restored := dump(s.port); !bytes.Equal(direct, restored) {
		t.Errorf("what was restored differs: %d and %d bytes", len(direct), len(restored))
	}
}

// TestPsqlDescribesWhatIsMasked: definitions are no values.
func TestPsqlDescribesWhatIsMasked(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	masked, open := startProxy(t, s, proxyOptions{masks: customerMasks}), startProxy(t, s, proxyOptions{})
	for _, command := range []string{`\d`, `\d customers`, `\d+ customers`, `\d+ contacts`, `\d orders`, `\di+`, `\dp`, `\sv contacts`} {
		want, _, _ := open.psql(t, "-c", command)
		got, errs, code := masked.psql(t, "-c", command)
		if got != want || want == "" || code != 0 {
			t.Errorf("%s: got %s%s", command, got, errs)
		}
	}
}
