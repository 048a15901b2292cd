package mysql_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// TestWhatIsNotUnderstoodIsRefusedWhereRulesReadIt: the session says what it
// will be read as, so that the same text means one thing here and there.
func TestWhatIsNotUnderstoodIsRefusedWhereRulesReadIt(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{sqlRules: true})
	db := p.open(t, "")
	exec1(t, db, "SET NAMES gbk")
	_, err := db.Exec("SELECT '縗' FROM orders")
	failsWith(t, err, 1227, "could not be understood")
	exec1(t, db, "SET NAMES utf8mb4", "SELECT '縗' FROM orders", "SET @mode = 'ORACLE'", "SET sql_mode = @mode")
	_, err = db.Exec("SELECT 1")
	failsWith(t, err, 1227, "could not be understood")
	asked := p.guard.operations(operation.Statement)
	for _, op := range asked {
		if string(op.Text.Reveal()) == "SELECT '縗' FROM orders" && op.Parsed && op.SQL.Statements[0].Relations[0] != "orders" {
			t.Errorf("its relations are %q", op.SQL.Statements[0].Relations)
		}
	}
}

// TestRulesSeeTheRelationsBehindViews: a view's name does not hide its tables.
func TestRulesSeeTheRelationsBehindViews(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{sqlRules: true})
	db := p.open(t, "")
	exec1(t, db, "SELECT * FROM outer_contacts", "PREPARE s FROM 'SELECT item FROM orders'", "EXECUTE s")
	var seen []string
	for _, op := range p.guard.operations(operation.Statement) {
		for _, s := range op.SQL.Statements {
			seen = append(seen, strings.Join(s.Relations, " "))
		}
	}
	if want := "outer_contacts shop.contacts shop.customers|orders|orders||orders"; strings.Join(seen, "|") != want {
		t.Errorf("rules see %q, want %q", strings.Join(seen, "|"), want)
	}
}

// TestViewsThatRunCodeAreNotReadOnly: what a view calls runs when it is read.
func TestViewsThatRunCodeAreNotReadOnly(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	if err := s.sql("USE shop", "CREATE TABLE worked (a int)", "CREATE SEQUENCE counter", "DELIMITER //", "CREATE FUNCTION work() RETURNS int MODIFIES SQL DATA BEGIN INSERT INTO worked VALUES (1); RETURN 1; END//",
		"DELIMITER ;\nCREATE VIEW busy AS SELECT work() AS w", "CREATE VIEW outer_busy AS SELECT w + 1 AS w FROM busy", "CREATE VIEW counts AS SELECT NEXTVAL(counter) AS n"); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, s, proxyOptions{sqlRules: true})
	db := p.open(t, "")
	exec1(t, db, "SELECT * FROM busy", "SELECT COUNT(*) FROM outer_busy WHERE w > 0", "SELECT n FROM counts", "SELECT name FROM plain", "SELECT * FROM outer_contacts")
	if out, err := s.query("SELECT COUNT(*) > 1 FROM shop.worked"); err != nil || out != "1\n" {
		t.Errorf("the views run nothing: %q, %v", out, err)
	}
	var seen []string
	for _, op := range p.guard.operations(operation.Statement) {
		seen = append(seen, fmt.Sprintf("%v %v", op.SQL.Statements[0].Opaque, op.ReadOnly))
	}
	if want := "true false|true false|false false|false true|false true"; strings.Join(seen, "|") != want {
		t.Errorf("opaque and read-only are %q, want %q", strings.Join(seen, "|"), want)
	}
}

// TestWritingTheServersTablesIsAPrivilege: accounts and rights are tables, too.
func TestWritingTheServersTablesIsAPrivilege(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	if err := s.sql("GRANT SELECT, UPDATE ON mysql.help_topic TO app@'%'"); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, s, proxyOptions{sqlRules: true})
	db := p.open(t, "")
	for text, want := range map[string]string{
		"UPDATE mysql.global_priv SET Priv = '{}' WHERE User = 'nobody'": "privilege true", "DELETE FROM `mysql`.`proc` WHERE name = 'x'": "privilege true",
		"UPDATE help_topic SET name = name WHERE name = 'nothing'": "privilege true",
		"SELECT COUNT(*) FROM mysql.help_topic":                    "read false", "UPDATE shop.orders SET total = 1 WHERE id = 0": "write false",
	} {
		db.SetMaxOpenConns(1) // USE comes before a name without its database, or the server refuses it
		if strings.HasPrefix(text, "UPDATE help_topic") {
			exec1(t, db, "USE mysql")
		}
		_, _ = db.Exec(text) // whether the user may is not the question
		asked := p.guard.operations(operation.Statement)
		last := asked[len(asked)-1].SQL.Statements[0]
		if got := fmt.Sprintf("%s %v", last.Class, last.Opaque); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

func TestDetectorsLookIntoEveryValueAndEveryError(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{detect: []mask.Detection{{Detector: mask.Email, Mask: "addresses", Method: mask.Redact}}, tapped: true})
	db := p.open(t, "")
	for _, statement := range []string{
		"SELECT email FROM customers", "SELECT CONCAT('<', email, '>') FROM customers", "SELECT JSON_OBJECT('a', email) FROM customers",
		"SELECT EXTRACTVALUE(1, CONCAT(0x7e, (SELECT email FROM customers LIMIT 1)))", "CALL pour()", "SELECT spill()",
		"SELECT CONVERT(email USING utf16) FROM customers", "SELECT CAST(email AS binary) FROM customers",
	} {
		runAll(db, statement)
		runPrepared(db, statement)
		if found := leaked(p.received(), statement); found != "" {
			t.Errorf("%s: the client received %s", statement, found)
		}
	}
	exec1(t, db, "SET character_set_results = utf16")
	runAll(db, "SELECT email FROM customers")
	if found := leaked(p.received(), ""); found != "" {
		t.Errorf("in UTF-16 the client received %s", found)
	}
	if got, err := first(p.open(t, ""), "SELECT CONCAT('<', email, '>'), name FROM customers WHERE id = 1", false); err != nil || got != "<[redacted]>|name1" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWhatTouchesAMaskIsRecordedSealed(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	db := p.open(t, "")
	if _, err := db.Exec("UPDATE customers SET email = ? WHERE id = 7", "written@example.test"); err != nil {
		t.Fatal(err)
	}
	exec1(t, db, "UPDATE customers SET email = 'literal@example.test' WHERE id = 8", "UPDATE orders SET item = 'plain' WHERE id = 1")
	plain := false
	for _, op := range p.guard.operations(operation.Statement) {
		text := string(op.Text.Reveal())
		plain = plain || text == "UPDATE orders SET item = 'plain' WHERE id = 1"
		if strings.Contains(text, "example.test") {
			t.Errorf("recorded is %q", text)
		}
		for _, p := range op.Params {
			if !p.Sealed {
				t.Error("a parameter is not sealed")
			}
		}
	}
	if !plain {
		t.Error("what touches no mask is not recorded as it is")
	}
}

func TestALimitOnRowsThatNobodyCountsRefuses(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{decide: func(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
		return protocol.Decision{Effect: protocol.Allow, Limit: &protocol.RowLimit{Rows: 2, Rule: "few"}}, nil
	}})
	_, err := p.open(t, "").Exec("UPDATE orders SET total = 0")
	failsWith(t, err, 1227, `sluice: refused by rule "few"`)
}
