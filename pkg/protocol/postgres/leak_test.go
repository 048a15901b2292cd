package postgres_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
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

// zoo is every way that we know of to move a masked value to the client.
var zoo = []string{
	"SELECT email FROM customers", "SELECT * FROM customers", "TABLE customers", "SELECT email AS e, ssn x FROM customers c",
	"SELECT customers FROM customers", "SELECT c FROM customers c", "SELECT (c).email FROM customers c", "SELECT c.* FROM customers c",
	"SELECT ROW(c.*) FROM customers c", "SELECT email::text FROM customers", "SELECT email||'' FROM customers", "SELECT ssn::varchar(11) FROM customers",
	"SELECT upper(email) FROM customers", "SELECT substr(ssn, 1, 3) FROM customers", "SELECT encode(email::bytea, 'hex') FROM customers",
	"SELECT encode(email::bytea, 'base64') FROM customers", "SELECT reverse(email) FROM customers",
	"SELECT email FROM customers UNION ALL SELECT 'x'", "SELECT 'x' UNION SELECT ssn FROM customers",
	"WITH c AS (SELECT email FROM customers) SELECT * FROM c", "WITH c AS MATERIALIZED (SELECT email||'' e FROM customers) SELECT e FROM c",
	"WITH RECURSIVE r AS (SELECT 1 n, email FROM customers UNION ALL SELECT n+1, email FROM r WHERE n<2) SELECT email FROM r",
	"SELECT (SELECT email FROM customers LIMIT 1)", "SELECT max(email) FROM customers", "SELECT string_agg(ssn, ',') FROM customers",
	"SELECT array_agg(email) FROM customers", "SELECT json_agg(c) FROM customers c", "SELECT row_to_json(c) FROM customers c",
	"SELECT to_jsonb(c) FROM customers c", "SELECT json_build_object('e', email) FROM customers", "SELECT coalesce(email, '') FROM customers",
	"SELECT CASE WHEN true THEN ssn END FROM customers", "SELECT greatest(email, '') FROM customers", "SELECT nullif(email, '') FROM customers",
	"SELECT count(*), email FROM customers GROUP BY email", "SELECT DISTINCT ssn FROM customers", "SELECT first_value(email) OVER () FROM customers",
	"SELECT * FROM contacts", "SELECT contact FROM outer_contacts", "SELECT * FROM kept_contacts", "SELECT spill()", "SELECT * FROM spill()",
	"SELECT * FROM spilled", "SELECT * FROM vips", "SELECT email FROM ONLY vips", "SELECT v FROM vips v", "SELECT email FROM other.plain",
	"SELECT o.id, c.email FROM orders o JOIN customers c ON c.id=o.customer", "SELECT * FROM orders o, LATERAL (SELECT ssn FROM customers c WHERE c.id=o.customer) l",
	"SELECT * FROM customers a FULL JOIN customers b USING (email)", "SELECT * FROM customers NATURAL JOIN vips",
	"COPY customers TO STDOUT", "COPY customers (email) TO STDOUT (FORMAT csv)", "COPY customers TO STDOUT (FORMAT binary)",
	"COPY (SELECT email FROM customers) TO STDOUT", "COPY contacts TO STDOUT",
	"DO $$BEGIN RAISE NOTICE '%', (SELECT email FROM customers LIMIT 1); END$$", "DO $$BEGIN RAISE EXCEPTION '%', (SELECT ssn FROM customers LIMIT 1); END$$",
	"DO $$BEGIN EXECUTE 'CREATE TABLE stolen AS SELECT * FROM cust'||'omers'; END$$",
	"SELECT email::int FROM customers", "SELECT ssn::date FROM customers", "SELECT 1 FROM customers WHERE email::int = 1", "SELECT id FROM customers WHERE ssn::int > 0",
	"SELECT id FROM customers ORDER BY email::int", "INSERT INTO customers SELECT * FROM customers", "INSERT INTO customers (id, email) SELECT 1000+id, email FROM customers",
	"UPDATE customers SET notes = email RETURNING notes", "UPDATE customers SET name = ssn", "UPDATE customers SET notes = customers::text RETURNING notes",
	"UPDATE customers SET notes = c.b FROM customers AS c(a, x, b) RETURNING customers.notes",
	"DELETE FROM customers WHERE id = 20 RETURNING email||''", "INSERT INTO orders SELECT 500, 1, 1, email FROM customers LIMIT 1",
	"INSERT INTO orders SELECT 501, 1, 1, a.item FROM customers AS a(id, name, item) LIMIT 1 RETURNING item",
	"UPDATE orders SET item = (SELECT email FROM customers LIMIT 1)", "UPDATE orders SET item = c.email FROM customers c", "SELECT item FROM orders",
	"INSERT INTO orders SELECT 600, 1, 1, contact FROM contacts LIMIT 1", "UPDATE orders SET item = contact FROM contacts", "CREATE TABLE stolen AS SELECT contact FROM contacts",
	"CREATE VIEW renamed (a) AS SELECT contact FROM contacts", "SELECT * FROM renamed", "SELECT item FROM orders WHERE id >= 500",
	"BEGIN", "DECLARE k CURSOR FOR SELECT email||'' FROM customers", "FETCH ALL FROM k", "COMMIT", "BEGIN", "DECLARE k CURSOR FOR SELECT email, id FROM customers", "FETCH 3 FROM k", "MOVE 1 FROM k", "ROLLBACK",
	"MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN UPDATE SET item = c.ssn",
	"CREATE TABLE stolen AS SELECT * FROM customers", "SELECT * INTO stolen FROM customers", "CREATE TEMP TABLE stolen AS TABLE customers",
	"CREATE VIEW stolen AS SELECT email||'' AS e FROM customers", "CREATE MATERIALIZED VIEW stolen AS SELECT email FROM customers", "SELECT * FROM stolen",
	"WITH w AS (INSERT INTO orders SELECT 502, 1, 1, email FROM customers LIMIT 1 RETURNING item) SELECT * FROM w",
	"CREATE FUNCTION leak() RETURNS text LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1'", "SELECT leak()",
	"CREATE RULE r AS ON INSERT TO orders DO ALSO SELECT email||'' FROM customers", "INSERT INTO orders VALUES (503, 1, 1, 'x')",
	"ALTER TABLE customers ADD COLUMN copied text GENERATED ALWAYS AS (email) STORED", "SELECT copied FROM customers",
	"ALTER TABLE customers ALTER COLUMN notes TYPE text USING email", "SELECT notes FROM customers", "SELECT name FROM customers",
	"EXPLAIN SELECT * FROM customers WHERE email > 'a'", "EXPLAIN ANALYZE SELECT * FROM customers", "EXPLAIN (VERBOSE) SELECT 1 FROM customers WHERE email < 'z'",
	"SELECT * FROM pg_stats WHERE tablename = 'customers'", "SELECT most_common_vals FROM pg_catalog.pg_stats", "SELECT histogram_bounds::text FROM pg_stats",
	"SELECT query FROM pg_stat_activity", "PREPARE p AS SELECT email||'' FROM customers", "EXECUTE p", "DEALLOCATE ALL",
	"SELECT query_to_xml('SELECT email FROM customers', true, false, '')", "SELECT table_to_xml('customers', true, false, '')",
	"SELECT database_to_xml(true, false, '')", "SELECT schema_to_xml('public', true, false, '')",
	"SELECT lo_from_bytea(0, (SELECT email FROM customers LIMIT 1)::bytea)", "SELECT pg_notify('c', (SELECT email FROM customers LIMIT 1))",
	"SELECT set_config('app.x', (SELECT email FROM customers LIMIT 1), false)", "SHOW app.x",
	"SELECT * FROM \"customers\"", "SELECT \"email\" FROM public.customers", "SELECT email||'' FROM \"public\".\"customers\"", "SELECT U&\"\\0065mail\"||'' FROM customers",
	"SELECT em/* */ail FROM customers", "SELECT email||'' FROM -- x\n customers", "SELECT e FROM (SELECT email||'' e FROM customers) s",
	"SELECT CAST(email AS text) COLLATE \"C\" FROM customers", "SELECT ARRAY(SELECT email FROM customers)", "SELECT unnest(ARRAY[email]) FROM customers",
	"SELECT * FROM unnest((SELECT array_agg(email) FROM customers))", "VALUES ((SELECT email FROM customers LIMIT 1))",
	"SELECT format('%s', email) FROM customers", "SELECT regexp_matches(email, '.*') FROM customers", "SELECT xmlelement(name e, email) FROM customers",
	"SELECT ssn FROM customers FOR UPDATE", "SELECT customers.email, customers.ssn FROM customers LIMIT 3", "SELECT 1; SELECT email||'' FROM customers",
	"INSERT INTO customers VALUES (1, 'x', 'y', 'z', 'n')", "INSERT INTO customers (id, email) VALUES (2000, 'u1." + canaryEmail + "')",
	"CREATE UNIQUE INDEX dup ON customers (ssn)", "ALTER TABLE customers ADD CONSTRAINT short CHECK (length(email) < 3)",
	"ALTER TABLE customers RENAME TO clients", "SELECT email||'' FROM clients", "SELECT email FROM clients", "ALTER TABLE clients RENAME COLUMN email TO mail",
	"SELECT mail FROM clients", "SELECT mail||'' FROM clients", "ALTER TABLE clients RENAME COLUMN mail TO email", "ALTER TABLE clients RENAME TO customers",
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
			for _, statement := range zoo {
				if conn.IsClosed() {
					conn = p.connect(t, mode)
				}
				runAll(conn, statement)
				if found := leaked(p.received(), statement); found != "" {
					t.Errorf("%s: the client received %s", statement, found)
				}
			}
		})
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
		for name, form := range map[string]string{
			"plain":  canary,
			"hex":    hex.EncodeToString([]byte(canary)),
			"base64": strings.ToLower(base64.StdEncoding.EncodeToString([]byte(canary))[:8]),
			"backwards": func() string {
				b := []byte(canary)
				for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
					b[i], b[j] = b[j], b[i]
				}
				return string(b)
			}(),
		} {
			if bytes.Contains(lower, []byte(form)) {
				return name + " " + canary
			}
		}
	}
	return ""
}

// TestMaskedValuesStayInTheirTable looks from the server: whatever the zoo
// tried, no other relation holds a canary afterwards.
func TestMaskedValuesStayInTheirTable(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	for _, statement := range zoo {
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
