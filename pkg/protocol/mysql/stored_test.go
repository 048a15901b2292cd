package mysql_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
)

// TestMaskFollowsWhatTheServerFills: a foreign key demands the values of the
// column that it refers to, and copies them where it cascades; generated columns
// are computed from either.
func TestMaskFollowsWhatTheServerFills(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	if err := s.sql(
		"USE shop", "CREATE TABLE people (id int PRIMARY KEY, email varchar(200) UNIQUE, loud varchar(200) AS (UPPER(email)) STORED UNIQUE)",
		"INSERT INTO people (id, email) SELECT id, email FROM customers",
		"CREATE TABLE badges (id int PRIMARY KEY, holder varchar(200) UNIQUE, tag varchar(210) AS (CONCAT('<', holder, '>')), tagged varchar(220) AS (CONCAT(tag, '!')),"+
			" colour varchar(10) DEFAULT 'red', FOREIGN KEY (holder) REFERENCES people (email) ON UPDATE CASCADE)",
		"CREATE TABLE other.doors (id int, holder varchar(200), number int, FOREIGN KEY (holder) REFERENCES shop.badges (holder) ON UPDATE CASCADE)",
		"CREATE TABLE `other`.`odd ``name` (id int, `the.holder` varchar(200), FOREIGN KEY (`the.holder`) REFERENCES shop.people (email))",
		"CREATE TABLE louder (id int, loud varchar(200), FOREIGN KEY (loud) REFERENCES people (loud))",
		"CREATE VIEW held AS SELECT holder AS h, colour FROM badges",
		"INSERT INTO badges (id, holder) SELECT id, email FROM people", "INSERT INTO other.doors SELECT id, holder, id FROM badges",
		"INSERT INTO other.`odd ``name` SELECT id, email FROM people", "INSERT INTO louder SELECT id, loud FROM people",
		"CREATE TABLE tree (id int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES tree (id))", "INSERT INTO tree VALUES (1, 1)",
		"CREATE TABLE there (id int PRIMARY KEY)", "CREATE TABLE back (id int PRIMARY KEY, FOREIGN KEY (id) REFERENCES there (id))", "INSERT INTO there VALUES (4)", "INSERT INTO back VALUES (4)",
		"ALTER TABLE there ADD FOREIGN KEY (id) REFERENCES back (id)",
		"CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'reader-secret'", "GRANT SELECT, SHOW VIEW ON *.* TO reader@'%'",
	); err != nil {
		t.Fatal(err)
	}
	masks := []mask.Column{{Schema: "shop", Table: "people", Column: "email", Mask: "pii", Method: mask.Redact}}
	for _, user := range []string{"app", "reader"} {
		p := startProxy(t, s, proxyOptions{masks: masks, tapped: true, user: user, password: user + "-secret"})
		db := p.open(t, "multiStatements=true")
		for _, statement := range []string{
			"SELECT * FROM badges", "SELECT holder FROM badges", "SELECT CONCAT(holder, '') FROM badges", "SELECT tag FROM badges", "SELECT tagged FROM badges", "SELECT REVERSE(tagged) FROM badges",
			"SELECT * FROM other.doors", "SELECT MAX(holder) FROM other.doors", "SELECT `the.holder` FROM other.`odd ``name`", "SELECT * FROM other.`odd ``name`",
			"SELECT loud FROM people", "SELECT loud FROM louder", "SELECT LOWER(loud) FROM louder", "SELECT * FROM held", "SELECT h FROM held WHERE h LIKE 'u%'",
			"SELECT b.holder FROM orders o JOIN badges b USING (id)", "SELECT EXTRACTVALUE(1, CONCAT(0x7e, holder)) FROM badges",
			"INSERT INTO orders SELECT 700, 1, 1, holder FROM badges LIMIT 1; SELECT item FROM orders", "SET @h = (SELECT holder FROM badges LIMIT 1); SELECT @h",
			"UPDATE badges SET colour = LEFT(holder, 10); SELECT colour FROM badges", "ALTER TABLE badges RENAME COLUMN holder TO colour2; SELECT colour2 FROM badges",
			"ALTER TABLE badges CHANGE tag tug varchar(210) AS (CONCAT('<', holder, '>')); SELECT tug FROM badges",
		} {
			runAll(db, statement)
			runPrepared(db, statement)
			if found := leaked(p.received(), statement); found != "" {
				t.Errorf("%s, %s: the client received %s", user, statement, found)
			}
		}
		for statement, want := range map[string]string{
			"SELECT id, colour FROM badges WHERE id = 2": "2|red", "SELECT COUNT(*) FROM badges WHERE id < 99": "20", "SELECT number FROM other.doors WHERE number = 3": "3",
			"SELECT item FROM orders WHERE id = 4": "item4", "SELECT up FROM tree": "1", "SELECT id FROM there": "4", "SELECT * FROM back": "4", "SELECT colour FROM held LIMIT 1": "red",
			"SELECT id, holder FROM badges WHERE id = 2": "2|[redacted]", "SELECT email FROM customers WHERE id = 1": "u1." + canaryEmail,
		} {
			if got, err := first(db, statement, false); err != nil || got != want {
				t.Errorf("%s, %s: got %q, %v; want %q", user, statement, got, err, want)
			}
		}
		if user == "reader" {
			continue
		}
		if _, err := db.Exec("INSERT INTO people (id, email) VALUES (99, 'new@example.test'); INSERT INTO badges (id, holder) VALUES (99, 'new@example.test')"); err != nil {
			t.Error(err)
		}
	}
	if out, err := s.query("SELECT * FROM shop.orders; SELECT id, colour FROM shop.badges"); err != nil || strings.Contains(out, canaryEmail[:6]) {
		t.Errorf("a value was copied: %v", err)
	}
}
