package postgres_test

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/mask"
)

const (
	canaryEmail = "kanarie.zq7@example.test"
	canarySSN   = "987-65-4320"
)

var customerMasks = []mask.Column{
	{Schema: "public", Table: "customers", Column: "email", Mask: "pii", Method: mask.Redact},
	{Schema: "public", Table: "customers", Column: "ssn", Mask: "pii", Method: mask.Partial},
	{Schema: "public", Table: "customers", Column: "born", Mask: "pii", Method: mask.Redact},
}

// customers makes the masked table, what depends on it, and what does not.
func customers(t testing.TB, s *server) {
	t.Helper()
	setUp(
		t, s,
		"DROP SCHEMA public CASCADE", "DROP SCHEMA IF EXISTS other CASCADE", "CREATE SCHEMA public AUTHORIZATION app", "SET ROLE app",
		"CREATE TABLE customers (id int PRIMARY KEY, name text, email text UNIQUE, ssn text, notes text, born date)",
		fmt.Sprintf("INSERT INTO customers SELECT n, 'name'||n, 'u'||n||'.%s', '%s', 'note'||n, '1987-06-05' FROM generate_series(1,20) n", canaryEmail, canarySSN),
		"CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, total int, item text)",
		"INSERT INTO orders SELECT n, n, n*10, 'item'||n FROM generate_series(1,20) n",
		"CREATE VIEW contacts AS SELECT id, email AS contact FROM customers",
		"CREATE VIEW outer_contacts AS SELECT * FROM contacts",
		"CREATE MATERIALIZED VIEW kept_contacts AS SELECT ssn FROM customers",
		"CREATE FUNCTION spill() RETURNS text LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1'",
		"CREATE VIEW spilled AS SELECT spill() AS s",
		"CREATE FUNCTION peek() RETURNS text STABLE LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1'",
		"CREATE VIEW peeked AS SELECT id, peek() AS p FROM customers",
		"CREATE TABLE vips (level int) INHERITS (customers)",
		fmt.Sprintf("INSERT INTO vips VALUES (99, 'vip', 'vip.%s', '%s', 'n', '1987-06-05', 1)", canaryEmail, canarySSN),
		"RESET ROLE", "CREATE SCHEMA other AUTHORIZATION app", "SET ROLE app", "CREATE VIEW other.plain AS SELECT email FROM public.customers",
		"ANALYZE",
	)
}

//go:embed testdata/leaks/postgres.sql
var leaks string

// zoo returns the statements of the leak corpus.
func zoo(t testing.TB) []string {
	t.Helper()
	var statements []string
	for line := range strings.Lines(leaks) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--") {
			statements = append(statements, line)
		}
	}
	if len(statements) < 300 {
		t.Fatalf("the corpus has %d cases", len(statements))
	}
	return statements
}

// TestNoMaskedValueReachesTheClient runs the zoo in every mode and looks for
// the values in every byte that the client received.
func TestNoMaskedValueReachesTheClient(t *testing.T) {
	s := realServer(t)
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			customers(t, s)
			p := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
			conn := p.connect(t, mode)
			for _, statement := range zoo(t) {
				if conn.IsClosed() {
					conn = p.connect(t, mode)
				}
				runAll(conn, statement)
				if found := leaked(p.received(), statement); found != "" {
					t.Errorf("%s: the client received %s", statement, found)
				}
				if mode != pgx.QueryExecModeExec {
					continue // the forms are the same in all
				}
				runForms(conn, statement)
				if found := leaked(p.received(), statement); found != "" {
					t.Errorf("%s, in another form: the client received %s", statement, found)
				}
			}
		})
	}
}

// runForms runs a query with its result in binary, and copies its result in
// every format.
func runForms(conn *pgx.Conn, statement string) {
	word, _, _ := strings.Cut(statement, " ")
	if !slices.Contains([]string{"SELECT", "WITH", "VALUES", "TABLE", "FETCH", "EXECUTE"}, word) || conn.IsClosed() {
		return
	}
	ctx := context.Background()
	conn.PgConn().ExecParams(ctx, statement, nil, nil, nil, []int16{1}).Read()
	if word == "FETCH" || word == "EXECUTE" {
		return
	}
	for _, format := range []string{"text", "csv", "binary"} {
		if !conn.IsClosed() {
			_, _ = conn.PgConn().CopyTo(ctx, io.Discard, "COPY ("+statement+") TO STDOUT (FORMAT "+format+")") // refused or masked
		}
	}
}

// runAll runs a statement, however it ends, and reads all of its rows.
func runAll(conn *pgx.Conn, statement string) {
	ctx := context.Background()
	if strings.HasPrefix(statement, "COPY") {
		var out bytes.Buffer
		_, _ = conn.PgConn().CopyTo(ctx, &out, statement) // a refusal is what we want
		return
	}
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return
	}
	for rows.Next() {
	}
	rows.Close()
}

// leaked looks for a canary in the encodings in which a server might send it.
// What the statement itself says is no secret.
func leaked(received []byte, statement string) string {
	lower := bytes.ToLower(received)
	for _, canary := range []string{canaryEmail, canarySSN, canarySSN[:7]} {
		if strings.Contains(statement, canary) {
			continue
		}
		for name, form := range forms(canary) {
			if bytes.Contains(lower, []byte(strings.ToLower(form))) {
				return name + " " + canary
			}
		}
	}
	return ""
}

// forms are the encodings in which a server might send a canary.
func forms(canary string) map[string]string {
	found := map[string]string{
		"plain": canary, "upper case": strings.ToUpper(canary), "hex": hex.EncodeToString([]byte(canary)),
		"JSON": strings.Trim(strconv.QuoteToASCII(canary), `"`),
	}
	backwards := []byte(canary)
	slices.Reverse(backwards)
	found["backwards"] = string(backwards)
	var wide, octal []byte
	for _, c := range []byte(canary) {
		wide = append(wide, 0, c)
		octal = fmt.Appendf(octal, `\%03o`, c)
	}
	found["UTF-16"], found["octal"] = string(wide), string(octal)
	for skip := range 3 { // wherever the canary begins in what was encoded
		if whole := (len(canary) - skip) / 3 * 3; whole >= 6 {
			found[fmt.Sprintf("base64 from %d", skip)] = base64.StdEncoding.EncodeToString([]byte(canary[skip : skip+whole]))
		}
	}
	if plain := strings.ReplaceAll(canary, "-", ""); len(plain) >= 9 {
		found["without hyphens"] = plain
	}
	return found
}

// TestMaskedValuesStayInTheirTable looks from the server: whatever the zoo
// tried, no other relation holds a canary afterwards.
func TestMaskedValuesStayInTheirTable(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	for _, statement := range zoo(t) {
		if conn.IsClosed() {
			conn = p.connect(t, pgx.QueryExecModeSimpleProtocol)
		}
		runAll(conn, statement)
	}
	truth := startProxy(t, s, proxyOptions{user: "postgres", password: "admin", tapped: true})
	admin := truth.connect(t, pgx.QueryExecModeSimpleProtocol)
	for _, statement := range []string{
		"SELECT t FROM orders t", "SELECT id, name, notes FROM ONLY customers", "SELECT id, name, notes FROM vips",
		"SELECT count(*) FROM customers",
	} {
		runAll(admin, statement)
		if found := leaked(truth.received(), ""); found != "" {
			t.Errorf("%s holds %s", statement, found)
		}
	}
	var relations int
	if err := admin.QueryRow(context.Background(), "SELECT count(*) FROM pg_class WHERE relname IN ('stolen', 'renamed')").Scan(&relations); err != nil || relations != 0 {
		t.Errorf("%d relations were made of masked values, %v", relations, err)
	}
}

// TestTheCorpusLeaksWithoutMasks is the control: were nothing masked, most of
// the corpus would reach the client and be found.
func TestTheCorpusLeaksWithoutMasks(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{tapped: true})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	leaking := 0
	for _, statement := range zoo(t) {
		if conn.IsClosed() {
			conn = p.connect(t, pgx.QueryExecModeSimpleProtocol)
		}
		runAll(conn, statement)
		if leaked(p.received(), statement) != "" {
			leaking++
		}
	}
	if leaking < 180 {
		t.Errorf("only %d cases reach the client", leaking)
	}
	t.Logf("%d cases reach the client", leaking)
}
