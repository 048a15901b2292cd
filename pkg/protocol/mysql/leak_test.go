package mysql_test

import (
	"bytes"
	"database/sql"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
)

const (
	canaryEmail = "kanarie.zq7@example.test"
	canarySSN   = "987-65-4320"
	canaryPay   = "83461975"
	canaryCard  = "geheim-4b1d"
)

var (
	customerMasks = []mask.Column{
		{Schema: "shop", Table: "customers", Column: "email", Mask: "pii", Method: mask.Redact},
		{Schema: "shop", Table: "customers", Column: "ssn", Mask: "pii", Method: mask.Partial},
		{Schema: "shop", Table: "customers", Column: "pay", Mask: "pii", Method: mask.Redact},
		{Schema: "shop", Table: "cards", Column: "email", Mask: "pii", Method: mask.Redact},
	}
	customerPaths = []mask.Path{{Column: mask.Column{Schema: "shop", Table: "customers", Column: "doc", Mask: "card", Method: mask.Redact}, Keys: []string{"card", "code"}}}
)

// customers makes the masked table, what depends on it, and what does not.
func customers(t testing.TB, s *server) {
	t.Helper()
	if err := s.sql(
		"DROP DATABASE IF EXISTS shop", "DROP DATABASE IF EXISTS other", "CREATE DATABASE shop", "CREATE DATABASE other", "GRANT ALL ON other.* TO app@'%'", "USE shop",
		"CREATE TABLE customers (id int PRIMARY KEY, name varchar(100), email varchar(200) UNIQUE, ssn varchar(20), notes text, pay int, doc json)",
		fmt.Sprintf(`INSERT INTO customers SELECT seq, CONCAT('name', seq), CONCAT('u', seq, '.%s'), '%s', CONCAT('note', seq), %s, '{"card": {"code": "%s"}, "plain": "seen"}' FROM seq_1_to_20`, canaryEmail, canarySSN, canaryPay, canaryCard),
		"CREATE TABLE orders (id int PRIMARY KEY, customer int, total int, item varchar(200))",
		"INSERT INTO orders SELECT seq, seq, seq*10, CONCAT('item', seq) FROM seq_1_to_20",
		"CREATE TABLE codes (id int UNIQUE, code varchar(200) UNIQUE)",
		"CREATE TABLE cards (id int, email varchar(200)) ENGINE=MyISAM", "INSERT INTO cards SELECT id, email FROM customers",
		"CREATE TABLE empty_merge (id int, email varchar(200)) ENGINE=MERGE",
		"CREATE VIEW contacts AS SELECT id, email AS contact FROM customers", "CREATE VIEW outer_contacts AS SELECT * FROM contacts",
		"CREATE VIEW plain AS SELECT id, name FROM customers", "CREATE VIEW joined AS SELECT o.item, c.ssn AS item2 FROM orders o JOIN customers c ON c.id = o.customer",
		"CREATE VIEW renamed (a, b) AS SELECT pay, id FROM customers", "CREATE ALGORITHM=TEMPTABLE VIEW kept AS SELECT email AS name, id FROM customers",
		"CREATE FUNCTION spill() RETURNS text READS SQL DATA RETURN (SELECT email FROM customers LIMIT 1)",
		"CREATE VIEW spilled AS SELECT spill() AS s", "CREATE PROCEDURE pour() SELECT email FROM customers",
		"CREATE VIEW other.far AS SELECT email FROM shop.customers", "ANALYZE TABLE customers PERSISTENT FOR ALL",
	); err != nil {
		t.Fatal(err)
	}
}

//go:embed testdata/leaks/mysql.sql
var leaks string

//go:embed testdata/leaks/shown.sql
var shownCases string

// cases returns the lines of a corpus.
func cases(text string) (all []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--") {
			all = append(all, line)
		}
	}
	return all
}

// leaked returns a canary that the client has received, in whatever encoding.
// What a statement itself says the client knew.
func leaked(received []byte, statement string) string {
	folded := bytes.ToLower(received)
	for _, canary := range []string{canaryEmail, canarySSN, canaryPay, canaryCard} {
		if strings.Contains(statement, canary) {
			continue
		}
		var number uint32
		fmt.Sscan(canaryPay, &number)
		utf16 := make([]byte, 0, 2*len(canary))
		reversed := make([]byte, 0, len(canary))
		for i := range len(canary) {
			utf16 = append(utf16, 0, canary[i])
			reversed = append(reversed, canary[len(canary)-1-i])
		}
		forms := [][]byte{
			[]byte(canary), []byte(hex.EncodeToString([]byte(canary))), utf16, reversed,
			[]byte(strings.ToLower(base64.StdEncoding.EncodeToString([]byte(canary))))[:len(canary)],
		}
		if canary == canaryPay {
			forms = append(forms, []byte{byte(number), byte(number >> 8), byte(number >> 16), byte(number >> 24)})
		}
		for _, form := range forms {
			if bytes.Contains(folded, form) {
				return string(form)
			}
		}
	}
	return ""
}

// runAll runs a statement, however it ends, and reads all of its rows.
func runAll(db *sql.DB, statement string) {
	rows, err := db.Query(statement)
	if err != nil {
		return
	}
	defer rows.Close()
	for {
		for rows.Next() {
		}
		if !rows.NextResultSet() {
			return
		}
	}
}

// TestTheCorpusLeaksWithoutMasks shows that its statements do reach the values,
// and that these are seen where they pass.
func TestTheCorpusLeaksWithoutMasks(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{tapped: true})
	all, leaks := cases(leaks), 0
	for _, statement := range all {
		db := p.open(t, "multiStatements=true&readTimeout=2s") // some lock what others want
		runAll(db, statement)
		_ = db.Close() // its session may have ended
		if leaked(p.received(), statement) != "" {
			leaks++
		}
	}
	if leaks < 90 { // the others find what the ones before changed, or need others to
		t.Errorf("%d of %d statements leak", leaks, len(all))
	}
}

// TestNoMaskedValueReachesTheClient runs the corpus as texts and as prepared
// statements, in one session and each in its own, and looks for the values in every byte that the client received.
func TestNoMaskedValueReachesTheClient(t *testing.T) {
	s := realServer(t)
	all := cases(leaks)
	if len(all) < 80 {
		t.Fatalf("the corpus has %d cases", len(all))
	}
	for _, mode := range []string{"text", "text, in sessions of their own", "prepared", "prepared, in sessions of their own"} {
		t.Run(mode, func(t *testing.T) {
			text, alone := strings.HasPrefix(mode, "text"), strings.HasSuffix(mode, "own")
			customers(t, s)
			p := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths, tapped: true})
			db := p.open(t, "multiStatements=true")
			for _, statement := range all {
				if alone {
					db.SetMaxIdleConns(-1) // which ends the last session
					db.SetMaxIdleConns(1)
				}
				if text {
					runAll(db, statement)
				} else {
					runPrepared(db, statement)
				}
				if found := leaked(p.received(), statement); found != "" {
					t.Errorf("%s: the client received %s", statement, found)
				}
			}
			p.guard.mu.Lock()
			defer p.guard.mu.Unlock()
			if found := leaked(p.guard.recorded.Bytes(), ""); found != "" {
				t.Errorf("the record holds %s", found)
			}
		})
	}
}

func runPrepared(db *sql.DB, statement string) {
	for one := range strings.SplitSeq(statement, ";") {
		prepared, err := db.Prepare(one)
		if err != nil {
			continue
		}
		if rows, err := prepared.Query(); err == nil {
			for rows.Next() {
			}
			_ = rows.Close() // it may have failed
		}
		_ = prepared.Close() // likewise
	}
}

// TestWhatIsNotMaskedIsShown is the other half: what passes, and arrives as it
// is. Each case begins with what must be in the answer.
func TestWhatIsNotMaskedIsShown(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	for _, options := range []string{"interpolateParams=true", "prepared"} {
		p := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths})
		db := p.open(t, "multiStatements=true")
		for _, one := range cases(shownCases) {
			want, statement, _ := strings.Cut(one, " | ")
			got, err := first(db, statement, options == "prepared")
			if err != nil || !strings.Contains(got, want) {
				t.Errorf("%s: got %q, %v; want %q", statement, got, err, want)
			}
		}
	}
}

// first returns the first row of an answer, its values separated by bars.
func first(db *sql.DB, statement string, prepared bool) (string, error) {
	rows, err := (*sql.Rows)(nil), error(nil)
	if prepared {
		stmt, err := db.Prepare(statement)
		if err != nil {
			return "", err
		}
		defer stmt.Close()
		rows, err = stmt.Query()
		if err != nil {
			return "", err
		}
	} else if rows, err = db.Query(statement); err != nil {
		return "", err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil || !rows.Next() {
		return "", rows.Err()
	}
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return "", err
	}
	var text []string
	for _, v := range values {
		if !v.Valid {
			v.String = "NULL"
		}
		text = append(text, v.String)
	}
	return strings.Join(text, "|"), nil
}
