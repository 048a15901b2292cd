package mysqltext_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
)

// startServer runs a MariaDB of its own, on a socket only, until the test ends,
// and returns the socket.
func startServer(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mysqltext-mariadb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	account, err := user.Lookup("mysql")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	install := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+dir+"/data",
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	install.SysProcAttr, install.Dir = as, dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	socket := filepath.Join(dir, "s")
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, "/usr/sbin/mariadbd", "--no-defaults", "--datadir="+dir+"/data", "--socket="+socket,
		"--skip-networking", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--pid-file="+dir+"/pid",
		"--tmpdir="+dir, "--secure-file-priv="+dir)
	server.SysProcAttr, server.Dir = as, dir
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = server.Wait(); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return socket
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatal("the server ended by itself")
		case <-deadline:
			t.Fatal("the server does not listen")
		}
	}
}

const schema = `CREATE DATABASE shop; USE shop;
	CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), ssn VARCHAR(20));
	CREATE TABLE u (id INT PRIMARY KEY, b VARCHAR(20));
	INSERT INTO t VALUES (1, 'x', 's1'), (2, 'y', 's2'); INSERT INTO u VALUES (1, 'z')`

func TestAgainstAServer(t *testing.T) {
	socket := startServer(t)
	c := dial(t, socket)
	c.must(t, schema)
	t.Run("TextsMeanWhatIsParsed", func(t *testing.T) { meansTheSame(t, socket) })
	t.Run("ReadOnlyStatementsRunInAReadOnlyTransaction", func(t *testing.T) { readOnlyHolds(t, c) })
	t.Run("FunctionsAreTheServersOwn", func(t *testing.T) { functionsMatch(t, c) })
	t.Run("NamesFoldAsTheServers", func(t *testing.T) { namesFold(t, c) })
	t.Run("ValuesAreTraced", func(t *testing.T) { valuesAreTraced(t, dial(t, socket)) })
	t.Run("RelationsAreThoseThatAreRead", func(t *testing.T) { relationsMatch(t, c) })
}

// pieces are what random texts are made of: whatever lexers disagree about.
var pieces = []string{
	"SELECT ", "1", "2", ", ", ",", "'", "''", "\"", "`", "\\", "\\'", "\\\"", "--", "-- ", "--\t", "--\x01", "#", "\n", "\r", "\x00", ";", "; SELECT ",
	"/*", "*/", "/**/", "/*!", "/*!50000", "/*!99999 ", "/*!50701 ", "/*!100500 ", "/*!500000 ", "/*!1 ", "/*M!", "/*M!100000", "/*M!200000 ", "/*+ x */",
	"'a'", "\"b\"", "'a''b'", "'\\\\'", "'a' 'b'", "'a'\n'b'", "N'c'", "n'c'", "_utf8'd'", "_utf8mb4 'd'", "_binary'd'", "--;", ";;", "; ", "x'41'", "X'4'",
	"0x41", "0X41", "0b1", "b'1'", "B'2'", "1e5", "1e", "1e+5", "1.", ".5", "1.5e-3", "1a", "1 a", "0x", "5--1", "5 -- 1\n", "- ", "+", "*", "/", "||", "&&", "!",
	"(", ")", "@a", "@`a`", "@'a'", "@@version_comment", "@@global.autocommit", "NULL", "\\N", " ", "\t", "\v", "\f", "AS `c`", " c", "é", "'é'",
	"{d '2020-01-01'}", " FROM t", " FROM shop.t", "t.id", "t . id", "`t`.`id`", "`t`.id", "IF(1,2,3)", "IF (1,2,3)", "COUNT(*)", "COUNT (*)", " UNION SELECT ",
	" WHERE id=1", "LIKE 'a\\_b'", "'a\\_b'", "'\\%'", "'\\Z\\0\\b'", "DATE '2020-01-01'", "INTERVAL 1 DAY + '2020-01-01'", "BINARY 'a'", "TRUE",
}

// meansTheSame runs random texts, and what is made of them for the parser, and
// compares what the server answers to each.
func meansTheSame(t *testing.T, socket string) {
	ran, refused := 0, 0
	for _, mode := range []struct {
		name string
		opt  mysqltext.Options
	}{
		{"", mariadb},
		{"ANSI_QUOTES", with(mariadb, func(o *mysqltext.Options) { o.ANSIQuotes = true })},
		{"NO_BACKSLASH_ESCAPES", with(mariadb, func(o *mysqltext.Options) { o.NoBackslashEscapes = true })},
		{"PIPES_AS_CONCAT,IGNORE_SPACE", with(mariadb, func(o *mysqltext.Options) { o.PipesAsConcat, o.IgnoreSpace = true, true })},
	} {
		random := rand.New(rand.NewPCG(1, uint64(len(mode.name))))
		given, parsed := dial(t, socket), dial(t, socket)
		given.must(t, "USE shop; SET sql_mode='"+mode.name+"'; SET @a = 7")
		pipes := ""
		if mode.opt.PipesAsConcat {
			pipes = "PIPES_AS_CONCAT"
		}
		parsed.must(t, "USE shop; SET sql_mode='"+pipes+"'; SET @a = 7")
		for range 6000 {
			text := "SELECT "
			for range 1 + random.IntN(7) {
				text += pieces[random.IntN(len(pieces))]
			}
			results := given.query(t, text)
			statements, ok := mysqltext.Canonical([]byte(text), mode.opt)
			if !ok {
				refused++
				continue
			}
			if results[len(results)-1].code == 0 {
				ran++
			}
			compare(t, parsed, text, results, statements)
			counted(t, text, mode.opt, results)
		}
	}
	t.Logf("%d texts ran, %d were refused", ran, refused)
	if ran < 1000 {
		t.Errorf("only %d texts ran: this tests nothing", ran)
	}
}

func with(opt mysqltext.Options, change func(*mysqltext.Options)) mysqltext.Options {
	change(&opt)
	return opt
}

const emptyQuery = 1065

// compare runs statements one by one: each must do what it did in the text.
func compare(t *testing.T, parsed *client, text string, results []result, statements []string) {
	t.Helper()
	for i, r := range results {
		if r.code == emptyQuery || r.code == 0 && len(r.columns) == 0 {
			return // nothing but comments
		}
		if i >= len(statements) {
			if r.code == 0 {
				t.Errorf("%q: the server runs %d statements, and %q are seen", text, len(results), statements)
			}
			return
		}
		if r.code != 0 {
			return // it did nothing, and neither did what follows
		}
		again := parsed.query(t, statements[i])[0]
		if again.code != 0 || !reflect.DeepEqual(r.rows, again.rows) || len(r.columns) != len(again.columns) {
			t.Errorf("%q: statement %d gives %v, as %q it gives %v %s", text, i, r.rows, statements[i], again.rows, again.message)
		}
	}
}

// counted: an analysis must know each statement that ran, and its columns.
func counted(t *testing.T, text string, opt mysqltext.Options, results []result) {
	t.Helper()
	a := analyzer.Analyze([]byte(text), opt)
	if !a.Parsed {
		return
	}
	at := 0
	for _, r := range results {
		if r.code != 0 || len(r.columns) == 0 {
			return
		}
		if at >= len(a.Statements) {
			t.Errorf("%q: %d statements ran, %d are described", text, len(results), len(a.Statements))
			return
		}
		st := &a.Statements[at]
		at++
		if st.Kind != "SELECT" || st.Lineage == nil {
			t.Errorf("%q: a SELECT is described as %+v", text, st)
			continue
		}
		star := slices.ContainsFunc(st.Lineage.Outputs, func(o lineage.Output) bool { return o.Star })
		if !star && len(st.Lineage.Outputs) != len(r.columns) {
			t.Errorf("%q: %d columns, of which %d are traced", text, len(r.columns), len(st.Lineage.Outputs))
		}
		for i, column := range r.columns {
			o := st.Lineage.At(i, len(r.columns))
			if column.originalTable != "" && !o.Unknown && !traced(o, column) {
				t.Errorf("%q: column %d is %s.%s, traced to %+v", text, i, column.originalTable, column.original, o)
			}
		}
	}
}

// traced reports whether a column's own column is among its sources.
func traced(o lineage.Output, c column) bool {
	return slices.ContainsFunc(o.Sources, func(s lineage.Source) bool {
		parts := mysqltext.SplitName(s.Relation)
		return parts[len(parts)-1] == c.originalTable && (s.Column == "*" || s.Column == strings.ToLower(c.original))
	})
}

// readOnlyHolds runs what is proven to be read-only where the server refuses
// writes.
func readOnlyHolds(t *testing.T, c *client) {
	texts, _ := readGolden(t, "testdata/mariadb.golden")
	more, _ := readGolden(t, "testdata/mysql.golden")
	c.must(t, "USE shop")
	ran := 0
	for _, text := range append(texts, more...) {
		a := analyzer.Analyze([]byte(text), mariadb)
		if !a.Parsed || len(a.Statements) == 0 || slices.ContainsFunc(a.Statements, func(s mysqltext.Statement) bool {
			return !s.ReadOnly || s.Kind == "EXPLAIN" || s.Class == operation.Transaction || len(s.Effects) > 0
		}) {
			continue
		}
		c.must(t, "START TRANSACTION READ ONLY")
		for _, r := range c.query(t, text) {
			if r.code == 1792 {
				t.Errorf("%s: read-only, but the server says: %s", text, r.message)
			}
			if r.code == 0 {
				ran++
			}
		}
		c.must(t, "ROLLBACK")
	}
	if ran < 20 {
		t.Errorf("only %d texts ran", ran)
	}
}

const noFunction, noLoadable = 1305, 1128

// functionsMatch: what is taken for the server's own must be, since another's
// function could have the name.
func functionsMatch(t *testing.T, c *client) {
	for _, name := range mysqltext.Harmless(true) {
		known := false
		for _, arguments := range []string{"", "1", "1, 1", "1, 1, 1"} {
			for _, r := range c.query(t, fmt.Sprintf("SELECT %s(%s)", name, arguments)) {
				known = known || r.code != noFunction && r.code != noLoadable
			}
		}
		if !known {
			t.Errorf("%s is not a function of the server's", name)
		}
	}
}

// namesFold: whatever character the server takes for a letter of a column's
// name must be one for us.
func namesFold(t *testing.T, c *client) {
	c.must(t, "USE shop; CREATE TABLE letters (a INT, b INT, c INT, d INT, e INT, f INT, g INT, h INT, i INT, j INT, k INT, l INT, m INT, n INT, "+
		"o INT, p INT, q INT, r INT, s INT, t INT, u INT, v INT, w INT, x INT, y INT, z INT)")
	for r := rune(0x80); r < 0xffff; r++ {
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		text := "SELECT `" + string(r) + "` FROM letters LIMIT 0"
		results := c.query(t, text)
		if results[0].code != 0 {
			continue
		}
		a := analyzer.Analyze([]byte(text), mariadb)
		want := strings.ToLower(results[0].columns[0].original)
		if !a.Parsed || a.Statements[0].Columns[0] != want {
			t.Errorf("%U is %s to the server, and %+v", r, want, a.Statements)
		}
	}
}

// relationsMatch compares the relations of a text with those that EXPLAIN says
// the server would read.
func relationsMatch(t *testing.T, c *client) {
	c.must(t, "USE shop")
	for _, text := range []string{
		"SELECT * FROM t", "SELECT * FROM t x JOIN u y USING (id)", "SELECT (SELECT max(b) FROM u WHERE u.id = t.id) FROM t",
		"WITH c AS (SELECT id FROM t) SELECT * FROM c, u", "SELECT id FROM t UNION SELECT id FROM u",
		"SELECT * FROM (SELECT id FROM t GROUP BY id) d", "UPDATE t SET a = (SELECT max(b) FROM u)", "DELETE t FROM t JOIN u USING (id)",
		"INSERT INTO t (id) SELECT id + 10 FROM u", "SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND b <> a)",
		"/*!50000 SELECT */ * /*M!100000 FROM */ /*!99999 u */ t", "SELECT * FROM `t` -- u\n", "SELECT * FROM t # u",
		"SELECT 't' FROM u", "SELECT id FROM t EXCEPT SELECT id FROM u", "SELECT * FROM t WHERE (id, a) IN (SELECT id, b FROM u)",
	} {
		a := analyzer.Analyze([]byte(text), mariadb)
		if !a.Parsed {
			t.Errorf("%s: %s", text, a.Why)
			continue
		}
		results := c.must(t, "EXPLAIN "+text+"\n")
		warnings := c.must(t, "SHOW WARNINGS")
		for _, table := range []string{"t", "u"} {
			read := strings.Contains(fmt.Sprint(warnings[0].rows), "`shop`.`"+table+"`") || strings.Contains(fmt.Sprint(results[0].rows), `"`+table+`"`)
			if known := slices.Contains(a.Statements[0].Relations, table); read && !known {
				t.Errorf("%s reads %s, and %+v does not tell", text, table, a.Statements[0])
			}
		}
	}
}
