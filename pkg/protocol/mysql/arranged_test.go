package mysql_test

import (
	"strings"
	"testing"
)

// TestPartsOfAMaskedValueCannotBeArranged writes what a partial mask does not
// show to where it would.
func TestPartsOfAMaskedValueCannotBeArranged(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths})
	db := p.open(t, "")
	for _, statement := range []string{
		"UPDATE customers SET ssn = CONCAT('00000000', LEFT(ssn, 4)) WHERE id = 1",
		"UPDATE customers SET ssn = email WHERE id = 1",
		"INSERT INTO customers (id, ssn) SELECT 3000, REVERSE(ssn) FROM customers WHERE id = 1",
		"INSERT INTO customers (id, ssn) VALUES (1, 'x') ON DUPLICATE KEY UPDATE ssn = customers.email",
		"REPLACE INTO customers (id, ssn) SELECT 1, CONCAT('xxxxxxxx', LEFT(ssn, 4)) FROM customers WHERE id = 2",
	} {
		if _, err := db.Exec(statement); err == nil || !strings.Contains(err.Error(), "where no mask applies") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	exec1(
		t, db, "UPDATE customers SET ssn = '123-45-6789' WHERE id = 2", "INSERT INTO customers (id, ssn) SELECT 3001, ssn FROM customers WHERE id = 1",
		"UPDATE customers SET email = CONCAT('x', ssn) WHERE id = 3",
	)
}

// TestGeneratedColumnsAreMasked: the server computes them from masked ones.
func TestGeneratedColumnsAreMasked(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	if err := s.sql("USE shop", "ALTER TABLE customers ADD COLUMN shout varchar(200) AS (UPPER(email)) STORED, ADD COLUMN again varchar(210) AS (CONCAT(shout, ssn)) VIRTUAL,"+
		" ADD COLUMN twice int AS (id * 2) STORED", "CREATE VIEW shouted AS SELECT id, shout, twice FROM customers"); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, s, proxyOptions{masks: customerMasks, paths: customerPaths, tapped: true})
	db := p.open(t, "")
	for _, statement := range []string{
		"SELECT * FROM customers", "SELECT shout, again FROM customers", "SELECT LOWER(Again) FROM customers", "SELECT shout AS id FROM shouted",
		"SELECT c.shout FROM (SELECT * FROM customers) c", "INSERT INTO orders (id, item) SELECT 900, again FROM customers LIMIT 1",
		"ALTER TABLE customers MODIFY shout varchar(200)", "ALTER TABLE customers CHANGE again other varchar(210)", "SELECT shout FROM customers", "SELECT item FROM orders",
	} {
		runAll(db, statement)
		if found := leaked(p.received(), statement); found != "" {
			t.Errorf("%s: the client received %s", statement, found)
		}
	}
	if got, err := first(db, "SELECT twice, id FROM shouted WHERE id = 4", false); err != nil || got != "8|4" {
		t.Errorf("got %q, %v", got, err)
	}
}
