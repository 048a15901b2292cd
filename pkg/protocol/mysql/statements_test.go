package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// open connects with Go's driver, one connection at a time. options are the
// driver's own, as in "multiStatements=true".
func (p *proxy) open(t testing.TB, options string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("job:whatever@tcp(127.0.0.1:%d)/shop?timeout=20s&%s", p.port, options))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() }) // its session may have ended
	return db
}

func exec1(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// failsWith checks an error's number and words.
func failsWith(t testing.TB, err error, number uint16, words string) {
	t.Helper()
	var said *driver.MySQLError
	if !errors.As(err, &said) || said.Number != number || !strings.Contains(said.Message, words) {
		t.Errorf("got %v, want error %d: %s", err, number, words)
	}
}

// refuses denies statements that hold a word.
func refuses(word string) decider {
	return func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		if op.Kind == operation.Statement && bytes.Contains(op.Text.Reveal(), []byte(word)) {
			return protocol.Decision{Rule: "never-drop", Reason: "Not for pipelines."}, nil
		}
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
}

func TestARefusedStatementNeverReachesTheServer(t *testing.T) {
	s := realServer(t)
	if err := s.sql("CREATE TABLE IF NOT EXISTS shop.keep (id int)"); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, s, proxyOptions{decide: refuses("DROP")})
	for _, options := range []string{"", "interpolateParams=true&multiStatements=true"} {
		db := p.open(t, options)
		exec1(t, db, "SET @kept = 5")
		_, err := db.Exec("DROP TABLE keep /* direct */")
		failsWith(t, err, 1227, `sluice: refused by rule "never-drop": Not for pipelines.`)
		if _, err = db.Exec("DROP TABLE keep, ?", 1); err == nil {
			t.Error("a refused prepared statement ran")
		}
		if _, err = db.Exec("INSERT INTO keep VALUES (7); DROP TABLE keep"); err == nil {
			t.Error("half of a refused text ran")
		}
		var kept int
		if err := db.QueryRow("SELECT @kept").Scan(&kept); err != nil || kept != 5 {
			t.Errorf("the session did not go on: %d, %v", kept, err)
		}
	}
	if log := s.log(t); strings.Contains(log, "/* direct */") || strings.Contains(log, "VALUES (7)") {
		t.Error("the server has seen a refused statement")
	}
	if out, err := s.query("SELECT COUNT(*) FROM shop.keep"); err != nil || out != "0\n" {
		t.Errorf("the table holds %q, %v", out, err)
	}
}

func TestPreparedStatementsAreAskedAboutWithTheirParameters(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	db := p.open(t, "parseTime=true")
	exec1(t, db, "CREATE OR REPLACE TABLE kinds (a bigint, b double, c varchar(300), d datetime(6), e date, f blob, g bigint unsigned)")
	when := time.Date(2024, 5, 6, 7, 8, 9, 120000000, time.UTC)
	if _, err := db.Exec("INSERT INTO kinds VALUES (?,?,?,?,?,?,?)", int64(-5), 2.5, "text", when, nil, []byte{0, 1}, uint64(1<<63)); err != nil {
		t.Fatal(err)
	}
	var (
		a, c string
		d    time.Time
		e    sql.NullTime
	)
	if err := db.QueryRow("SELECT a, c, d, e FROM kinds WHERE a = ?", -5).Scan(&a, &c, &d, &e); err != nil || a != "-5" || c != "text" || !d.Equal(when) || e.Valid {
		t.Errorf("got %q %q %v %v, %v", a, c, d, e, err)
	}
	asked := p.guard.operations(operation.Statement)
	var inserted *operation.Operation
	for i := range asked {
		if strings.HasPrefix(string(asked[i].Text.Reveal()), "INSERT INTO kinds") {
			inserted = &asked[i]
		}
	}
	if inserted == nil || string(inserted.Source) != string(inserted.Text.Reveal()) {
		t.Fatal("the insert was not asked about, or not by its text")
	}
	var got []string
	for _, p := range inserted.Params {
		got = append(got, fmt.Sprintf("%s/%v", p.Text.Reveal(), p.Null))
	}
	want := "-5/false 2.5/false text/false 2024-05-06 07:08:09.12/false /true \x00\x01/false 9223372036854775808/false"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %q\nwant %q", strings.Join(got, " "), want)
	}
	if outcome := p.guard.outcome(inserted.ID); outcome.Status != protocol.OK {
		t.Errorf("it ended as %+v", outcome)
	}
}

func TestResultsOfEverySortArriveWhole(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	db := p.open(t, "multiStatements=true&maxAllowedPacket=67108864")
	exec1(t, db, "CREATE OR REPLACE PROCEDURE twice() BEGIN SELECT 1; SELECT 2; END")
	rows, err := db.Query("CALL twice(); SELECT 3; SELECT 4 WHERE FALSE; SELECT 5")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for {
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				t.Fatal(err)
			}
			got += fmt.Sprint(n)
		}
		if !rows.NextResultSet() {
			break
		}
	}
	if rows.Close(); got != "1235" || rows.Err() != nil {
		t.Errorf("got %q, %v", got, rows.Err())
	}
	for _, size := range []int{0, 250, 251, 65535, 65536, 1<<24 - 1 - 5, 1<<24 - 5, 1 << 24, 1<<24 + 9} {
		if size > 1<<24-1-9 {
			if err := s.sql("SET GLOBAL max_allowed_packet = 67108864"); err != nil {
				t.Fatal(err)
			}
			db = p.open(t, "maxAllowedPacket=67108864")
		}
		var value []byte
		if err := db.QueryRow(fmt.Sprintf("SELECT REPEAT('x', %d)", size)).Scan(&value); err != nil || len(value) != size {
			t.Errorf("%d bytes: got %d, %v", size, len(value), err)
		}
	}
}

func TestAMessageAboveTheLimitIsRefused(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	db := p.open(t, "maxAllowedPacket=67108864")
	_, err := db.Exec("SELECT '" + strings.Repeat("x", 1<<24) + "'")
	if err == nil {
		t.Fatal("a message above the limit ran")
	}
	var n int
	if err := db.QueryRow("SELECT 1").Scan(&n); err != nil {
		t.Errorf("a new session does not work: %v", err)
	}
}

func TestCommandsThatNoJobNeedsAreRefusedAndRecorded(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	c := p.raw(t)
	for name, command := range map[string][]byte{
		"COM_SHUTDOWN": {8, 0}, "COM_BINLOG_DUMP": {18, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0}, "COM_REGISTER_SLAVE": {21, 1}, "COM_REFRESH": {7, 1}, "COM_DEBUG": {13},
		"COM_PROCESS_INFO": {10}, "COM_CHANGE_USER": append([]byte{17}, "root\x00\x00shop\x00"...), "an unknown command": {99}, "COM_STMT_BULK_EXECUTE": {0xfa, 1, 0, 0, 0},
		"COM_CREATE_DB": append([]byte{5}, "more"...), "COM_DROP_DB": append([]byte{6}, "shop"...),
	} {
		answer := c.command(t, command)
		if answer[0] != 0xff || !bytes.Contains(answer, []byte("sluice: "+name+" is not passed on")) {
			t.Errorf("%s is answered %q", name, answer)
		}
	}
	if answer := c.command(t, []byte{14}); answer[0] != 0 {
		t.Errorf("a ping is answered %q", answer)
	}
	if answer := c.command(t, []byte{9}); !bytes.HasPrefix(answer, []byte("Uptime")) {
		t.Errorf("COM_STATISTICS is answered %q", answer)
	}
	if calls := p.guard.operations(operation.Call); len(calls) != 12 {
		t.Errorf("%d calls were recorded", len(calls))
	}
}

func TestNoFileOfTheClientIsAskedFor(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	_, errs, code := p.client(t, "", "mariadb", "--local-infile=1", "shop", "-e", "CREATE OR REPLACE TABLE lines_of (l text); LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE lines_of")
	if code == 0 || !strings.Contains(errs, "ERROR") {
		t.Errorf("code %d, %q", code, errs)
	}
	if out, err := s.query("SELECT COUNT(*) FROM shop.lines_of"); err != nil || out != "0\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestTheCommandLineClientAndItsTools(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{})
	out, errs, code := p.client(t, "CREATE OR REPLACE TABLE t (a int, b text);\nINSERT INTO t VALUES (1,'x'),(2,NULL);\nSELECT * FROM t;\nuse shop\nSELECT DATABASE();\n", "mariadb", "--auto-rehash", "shop")
	if code != 0 || out != "a\tb\n1\tx\n2\tNULL\nDATABASE()\nshop\n" {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	out, errs, code = p.client(t, "", "mariadb-dump", "shop", "t")
	if code != 0 || !strings.Contains(out, "INSERT INTO `t` VALUES\n(1,'x'),\n(2,NULL);") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if out, errs, code = p.client(t, "", "mariadb-admin", "ping"); code != 0 || !strings.Contains(out, "alive") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
}
