package mysql_test

import (
	"strings"
	"testing"
)

// TestNoSessionMovesAMaskFromUnderAStatement runs texts one after the other,
// each case in a session of its own: what a name stands for, or what a prepared
// statement is, has changed by the last of them, or only seems to have.
func TestNoSessionMovesAMaskFromUnderAStatement(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	if err := s.sql("CREATE TABLE other.customers (id int, email int)", "INSERT INTO other.customers VALUES (1, 1)"); err != nil {
		t.Fatal(err)
	}
	const dirty, clean = "PREPARE s FROM 'SELECT CONCAT(email) FROM customers'", "PREPARE s FROM 'SELECT id FROM orders'"
	for name, texts := range map[string][]string{
		"prepared here, run elsewhere":                      {dirty, "USE other", "EXECUTE s"},
		"prepared here, run elsewhere, at once":             {dirty + "; USE other; EXECUTE s"},
		"moved and asked at once":                           {"USE other", "USE shop; SELECT CONCAT(email) FROM customers"},
		"a clean one that was never prepared":               {dirty, "SELECT * FROM nowhere; " + clean, "EXECUTE s"},
		"a clean one that was never prepared, twice":        {dirty, "SELECT * FROM nowhere; DEALLOCATE PREPARE s; " + clean, "EXECUTE s"},
		"a clean one whose text fails":                      {dirty, "PREPARE s FROM 'SELECT id FROM nowhere'", "EXECUTE s"},
		"an empty statement between":                        {"SELECT id FROM orders; ; SELECT CONCAT(email) FROM customers"},
		"an answer without rows before":                     {"SET @a = 1; SELECT CONCAT(email) FROM customers", "DO 1; SELECT CONCAT(email) FROM customers"},
		"a temporary table that was":                        {"CREATE TEMPORARY TABLE gone (email text)", "DROP TABLE gone", "SELECT CONCAT(contact) FROM contacts"},
		"a temporary table of the name of a view":           {"CREATE TEMPORARY TABLE contacts (contact text)", "DROP TABLE contacts", "SELECT CONCAT(contact) FROM contacts"},
		"a temporary table that was not made":               {"CREATE TEMPORARY TABLE customers (email text, email text)", "SELECT CONCAT(email) FROM customers"},
		"a temporary table that the transaction ended with": {"CREATE OR REPLACE TEMPORARY TABLE customers (email text)", "DROP TEMPORARY TABLE customers", "SELECT CONCAT(email) FROM customers"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths, tapped: true})
			db := p.open(t, "multiStatements=true")
			for _, text := range texts {
				runAll(db, text)
			}
			if found := leaked(p.received(), ""); found != "" {
				t.Errorf("the client received %s", found)
			}
		})
	}
}

func TestWhatIsPreparedByNameIsJudgedAsItself(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths})
	db := p.open(t, "")
	for text, want := range map[string]string{
		"SELECT item, id FROM orders WHERE id = 3":         "item3|3",
		"SELECT name, email FROM customers WHERE id = 3":   "name3|[redacted]",
		"SELECT CONCAT(email, '') FROM customers LIMIT 1":  "[redacted]",
		"SELECT contact, id FROM contacts WHERE id = 2":    "[redacted]|2",
		"SELECT COUNT(*) FROM customers WHERE id IN (1,2)": "2",
	} {
		exec1(t, db, "PREPARE s FROM '"+strings.ReplaceAll(text, "'", "''")+"'")
		if got, err := first(db, "EXECUTE s", false); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", text, got, err, want)
		}
	}
}
