package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TestOrdinaryStatementsComeThrough measures over-masking: these touch what is
// masked, or nothing masked, in ways that are proven.
func TestOrdinaryStatementsComeThrough(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	for _, test := range []struct{ statement, want string }{
		{"SELECT 1", "1\n"},
		{"SELECT id, name FROM customers WHERE id = 3", "3|name3\n"},
		{"SELECT id, email, ssn FROM customers WHERE id = 3", "3|[redacted]|********320\n"},
		{"SELECT * FROM customers c WHERE id = 3", "3|name3|[redacted]|********320|note3|\n"},
		{"SELECT email FROM customers WHERE id = 3", "[redacted]\n"},
		{"SELECT v.email, v.level FROM vips v", "[redacted]|1\n"},
		{"SELECT count(*) FROM orders", "20\n"},
		{"SELECT o.id, c.email FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = 2", "2|[redacted]\n"},
		{"SELECT upper(item) FROM orders WHERE id = 1", "ITEM1\n"},
		{"INSERT INTO orders VALUES (900, 1, 5, 'x') RETURNING id, item", "900|x\n"},
		{"UPDATE orders SET total = total + 1 WHERE id = 900 RETURNING total", "6\n"},
		{"DELETE FROM orders WHERE id = 900", ""},
		{"CREATE TABLE fresh (a int)", ""},
		{"INSERT INTO fresh SELECT 7", ""},
		{"SELECT a, a+1 FROM fresh", "7|8\n"},
		{"DROP TABLE fresh", ""},
		{"ALTER TABLE customers ADD COLUMN extra int", ""},
		{"SELECT extra, email FROM customers WHERE id = 1", "|[redacted]\n"},
		{"ALTER TABLE customers DROP COLUMN extra", ""},
		{"INSERT INTO customers (id, name, email) VALUES (901, 'new', 'new@example.test') RETURNING id", "901\n"},
		{"UPDATE customers SET email = 'changed@example.test' WHERE id = 901", ""},
		{"DELETE FROM customers WHERE id = 901", ""},
		{"SET statement_timeout = 10000; SELECT 2", "2\n"},
		{"BEGIN; SELECT item FROM orders WHERE id = 1; COMMIT", "item1\n"},
	} {
		out, errs, code := p.psql(t, "-qAt", "-c", test.statement)
		if code != 0 || out != test.want {
			t.Errorf("%s: psql exited %d with %q, want %q; %s", test.statement, code, out, test.want, errs)
		}
	}
}

func TestMaskedColumnsAreMaskedInEveryMode(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			ctx := context.Background()
			conn := p.connect(t, mode)
			for range 3 { // the second run has no Describe of its own
				var id int
				var email, ssn string
				err := conn.QueryRow(ctx, "SELECT id, email, ssn FROM customers WHERE id = $1", 3).Scan(&id, &email, &ssn)
				if err != nil || id != 3 || email != "[redacted]" || !strings.HasSuffix(ssn, "320") || strings.HasPrefix(ssn, "9") {
					t.Fatalf("got %d, %q, %q, %v", id, email, ssn, err)
				}
			}
			var upper string
			if err := conn.QueryRow(ctx, "SELECT upper(email) FROM customers WHERE id = $1", 3).Scan(&upper); err != nil || upper != "[redacted]" {
				t.Fatalf("got %q, %v", upper, err)
			}
			_, err := conn.Exec(ctx, "UPDATE customers SET notes = email WHERE id = $1", 3)
			wantState(t, err, "42501")
			if status := conn.PgConn().TxStatus(); status != 'I' {
				t.Fatalf("status %q", status)
			}
		})
	}
}

func TestMaskFollowsColumnRenamedInTheSameTransaction(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	conn := p.connect(t, pgx.QueryExecModeDescribeExec)
	other := p.connect(t, pgx.QueryExecModeDescribeExec)
	ctx := context.Background()
	unmasked := startProxy(t, s, proxyOptions{}).connect(t, pgx.QueryExecModeDescribeExec)
	for _, statement := range []string{"ALTER TABLE customers RENAME COLUMN email TO mail", "ALTER TABLE customers RENAME TO clients"} {
		if _, err := unmasked.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, session := range []*pgx.Conn{conn, other} {
		var mail string
		if err := session.QueryRow(ctx, "SELECT mail FROM clients WHERE id = 1").Scan(&mail); err != nil || mail != "[redacted]" {
			t.Fatalf("got %q, %v", mail, err)
		}
		if err := session.QueryRow(ctx, "SELECT mail||'' FROM clients").Scan(&mail); err != nil || mail != "[redacted]" {
			t.Fatalf("got %q, %v", mail, err)
		}
	}
}

func TestErrorsOfMaskedRelationsLoseTheirWords(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	_, errs, _ := p.psql(t, "-c", "SELECT id FROM customers WHERE email::int = 1", "-c", "INSERT INTO customers VALUES (1, 'a')")
	if strings.Count(errs, "withheld") != 2 {
		t.Fatalf("psql said %q", errs)
	}
}

// What nothing can stand for becomes NULL.
func TestValueThatIsNoTextBecomesNull(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	conn := p.connect(t, pgx.QueryExecModeExec).PgConn()
	for _, format := range []int16{0, 1} {
		result := conn.ExecParams(context.Background(), "SELECT id, born, email FROM customers WHERE id = 3", nil, nil, nil, []int16{0, format, format}).Read()
		if result.Err != nil || len(result.Rows) != 1 {
			t.Fatalf("%d rows, %v", len(result.Rows), result.Err)
		}
		row := result.Rows[0]
		if string(row[0]) != "3" || row[1] != nil || string(row[2]) != "[redacted]" {
			t.Fatalf("in format %d the row is %q", format, row)
		}
	}
}

// TestOnlyWhatMayCarryAMaskedValueIsHidden measures over-masking of what is
// computed, and that what carries a value is hidden rather than refused.
func TestOnlyWhatMayCarryAMaskedValueIsHidden(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	for _, test := range []struct{ statement, want string }{
		{"SELECT count(*), count(email), count(DISTINCT name) FROM ONLY customers", "20|20|20\n"},
		{"SELECT upper(name), id + 1, now() IS NULL, email IS NULL FROM customers WHERE id = 3", "NAME3|4|f|f\n"},
		{"SELECT upper(email), length(ssn), name || ssn FROM customers WHERE id = 3", "[redacted]||[redacted]\n"},
		{"SELECT id, contact FROM contacts WHERE id = 3", "3|[redacted]\n"},
		{"SELECT id + 1, upper(contact) FROM outer_contacts WHERE id = 3", "4|[redacted]\n"},
		{"SELECT count(*) FROM kept_contacts", "20\n"},
		{"SELECT max(id), min(name), max(email) FROM customers", "99|name1|[redacted]\n"},
		{"SELECT o.id, upper(o.item), c.email || '' FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = 2", "2|ITEM2|[redacted]\n"},
		{"SELECT name FROM customers WHERE id = 1 UNION ALL SELECT item FROM orders WHERE id = 1", "name1\nitem1\n"},
		{"SELECT email FROM customers WHERE id = 1 UNION ALL SELECT item FROM orders WHERE id = 1", "[redacted]\n[redacted]\n"},
		{"WITH c AS (SELECT name, email FROM customers WHERE id = 3) SELECT name || '!', email || '!' FROM c", "name3!|[redacted]\n"},
		{"SELECT c FROM customers c WHERE id = 3", "\n"},
		{"SELECT row_to_json(o) FROM orders o WHERE id = 1", `{"id":1,"customer":1,"total":10,"item":"item1"}` + "\n"},
		{"SELECT row_to_json(c) FROM customers c WHERE id = 3", "\"[redacted]\"\n"},
		{"SELECT peek(), 1 + 1", "[redacted]|2\n"},
		{"SELECT id FROM peeked WHERE id = 3", "3\n"},
		{"SELECT * FROM peeked WHERE id = 3", "3|[redacted]\n"},
		{"SELECT EXISTS (SELECT FROM customers WHERE id = 3), 3 IN (SELECT id FROM customers)", "t|t\n"},
		{"UPDATE customers SET name = 'x' WHERE email = 'nobody' RETURNING id", ""},
		{"UPDATE customers SET email = lower(email) WHERE id = 3 RETURNING id, email || ''", "3|[redacted]\n"},
		{"BEGIN; SELECT email FROM customers WHERE id = 3; SELECT upper(name) FROM customers WHERE id = 3; COMMIT", "[redacted]\nNAME3\n"},
		{"SELECT pid > 0, state, query FROM pg_stat_activity WHERE pid = pg_backend_pid()", "t|active|[redacted]\n"},
		{"SELECT tablename, most_common_vals FROM pg_stats WHERE tablename = 'customers' AND attname = 'notes' LIMIT 1", "customers|\n"},
		{"SELECT pg_catalog.set_config('search_path', '', true)", "\n"},
		{"COPY (SELECT id, email, name FROM customers WHERE id = 3) TO STDOUT", "3\t[redacted]\tname3\n"},
		{"COPY (SELECT id, ssn, born FROM customers WHERE id = 3) TO STDOUT (FORMAT csv, HEADER)", "id,ssn,born\n3,\"********320\",\n"},
		{"COPY vips (id, email, name) TO STDOUT (DELIMITER ':')", "99:[redacted]:vip\n"},
		{"COPY contacts TO STDOUT", ""}, // of a view the server refuses it
	} {
		out, errs, code := p.psql(t, "-qAt", "-c", test.statement)
		if (code != 0) != strings.HasPrefix(test.statement, "COPY contacts") || out != test.want {
			t.Errorf("%s: psql exited %d with %q, want %q; %s", test.statement, code, out, test.want, errs)
		}
	}
}

func TestWhatANameRunsIsJudged(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	out, errs, code := p.psql(
		t, "-qAt", "-v", "ON_ERROR_STOP=1",
		"-c", "PREPARE p AS SELECT upper(name), upper(email) FROM customers WHERE id = $1", "-c", "EXECUTE p(3)",
		"-c", "DEALLOCATE p", "-c", "PREPARE p AS SELECT name FROM customers WHERE id = $1", "-c", "EXECUTE p(3)",
		"-c", "BEGIN", "-c", "DECLARE k CURSOR FOR SELECT upper(name), email || '' FROM customers WHERE id = 3", "-c", "FETCH ALL FROM k", "-c", "COMMIT",
	)
	if want := "NAME3|[redacted]\nname3\nNAME3|[redacted]\n"; code != 0 || out != want {
		t.Errorf("psql exited %d with %q, want %q; %s", code, out, want, errs)
	}
}

func TestColumnStaysMaskedWhenItsTableLeavesTheTree(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	out, errs, code := p.psql(t, "-qAt", "-c", "ALTER TABLE vips NO INHERIT customers", "-c", "SELECT email, upper(email) FROM vips")
	if code != 0 || out != "[redacted]|[redacted]\n" {
		t.Errorf("psql exited %d with %q; %s", code, out, errs)
	}
}

// TestPartsOfAMaskedValueCannotBeArranged writes what a partial mask does not
// show to where it would, in transactions that leave no trace.
func TestPartsOfAMaskedValueCannotBeArranged(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	ctx := context.Background()
	for _, statement := range []string{
		"UPDATE customers SET ssn = '0000000' || substr(ssn, 1, 4) WHERE id = 1 RETURNING ssn",
		"UPDATE customers SET ssn = email WHERE id = 1 RETURNING ssn",
		"INSERT INTO customers (id, ssn) SELECT 3000, reverse(ssn) FROM customers WHERE id = 1 RETURNING ssn",
		"INSERT INTO customers (id, ssn) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET ssn = customers.email RETURNING ssn",
		"MERGE INTO customers c USING vips v ON c.id = 1 WHEN MATCHED THEN UPDATE SET ssn = 'xxxxxxxx' || left(v.ssn, 4)",
	} {
		_, err := conn.Exec(ctx, statement)
		wantState(t, err, "42501")
	}
	for _, statement := range []string{
		"UPDATE customers SET ssn = '123-45-6789' WHERE id = 2",
		"INSERT INTO customers (id, ssn, email) SELECT 3000 + id, ssn, NULL FROM vips",
		"UPDATE customers SET email = 'x' || ssn || id WHERE id = 3",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestPortalOfOlderDefinitionsIsNotRead binds what a view shows, and gives the
// view another meaning before the rows are read.
func TestPortalOfOlderDefinitionsIsNotRead(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
	conn := p.connect(t, pgx.QueryExecModeExec)
	f := conn.PgConn().Frontend()
	f.SendParse(&pgproto3.Parse{Name: "begin", Query: "BEGIN"})
	f.SendBind(&pgproto3.Bind{PreparedStatement: "begin"})
	f.SendExecute(&pgproto3.Execute{})
	f.SendParse(&pgproto3.Parse{Name: "read", Query: "SELECT contact FROM contacts"})
	f.SendBind(&pgproto3.Bind{DestinationPortal: "read", PreparedStatement: "read"})
	f.SendExecute(&pgproto3.Execute{Portal: "read", MaxRows: 1})
	f.SendParse(&pgproto3.Parse{Name: "replace", Query: "CREATE OR REPLACE VIEW contacts AS SELECT id, item AS contact FROM orders"})
	f.SendBind(&pgproto3.Bind{PreparedStatement: "replace"})
	f.SendExecute(&pgproto3.Execute{})
	f.SendExecute(&pgproto3.Execute{Portal: "read"})
	f.SendSync(&pgproto3.Sync{})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	var rows, refusals int
	for {
		message, err := f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := message.(type) {
		case *pgproto3.DataRow:
			rows++
		case *pgproto3.ErrorResponse:
			refusals++
			if m.Code != "42501" {
				t.Errorf("the error is %s", m.Message)
			}
		case *pgproto3.ReadyForQuery:
			if found := leaked(p.received(), ""); found != "" || rows != 1 || refusals != 1 {
				t.Errorf("the client received %s, %d rows and %d refusals", found, rows, refusals)
			}
			return
		}
	}
}

// TestMaskFollowsWhatTheServerFills: columns that reference a masked one, or
// are generated from it, hold its values.
func TestMaskFollowsWhatTheServerFills(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	setUp(
		t, s, "SET ROLE app",
		"CREATE TABLE mails (id int, mail text REFERENCES customers (email) ON UPDATE CASCADE, ssn text)",
		"CREATE TABLE later (mail text, shout text GENERATED ALWAYS AS (upper(mail)) STORED, size int GENERATED ALWAYS AS (length(mail)) STORED, n int)",
		"ALTER TABLE mails ADD UNIQUE (mail)", "ALTER TABLE later ADD FOREIGN KEY (mail) REFERENCES mails (mail)",
		"INSERT INTO mails SELECT id, email FROM ONLY customers", "INSERT INTO later (mail, n) SELECT email, id FROM ONLY customers",
	)
	p := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
	conn := p.connect(t, pgx.QueryExecModeExec)
	for _, statement := range []string{"SELECT * FROM mails", "SELECT mail || '' FROM mails", "SELECT * FROM later", "SELECT lower(shout) FROM later"} {
		runAll(conn, statement)
		if found := leaked(p.received(), ""); found != "" {
			t.Errorf("%s: the client received %s", statement, found)
		}
	}
	var id, n, size any
	if err := conn.QueryRow(context.Background(), "SELECT m.id + 1, l.n, l.size FROM mails m JOIN later l USING (mail) WHERE n = 3").Scan(&id, &n, &size); err != nil {
		t.Fatal(err)
	}
	if id != int32(4) || n != int32(3) || size != nil {
		t.Errorf("got %v, %v, %v", id, n, size)
	}
}

// TestMaskedNamesDoNotMove: another agent, or this one after a restart, knows
// masked columns by their names only.
func TestMaskedNamesDoNotMove(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	setUp(t, s, "SET ROLE app", "CREATE TABLE parent (id int, email text)", "CREATE TABLE parts (LIKE customers) PARTITION BY RANGE (id)",
		"CREATE TABLE child (level int, LIKE customers INCLUDING ALL)", "CREATE TABLE leaving () INHERITS (customers)")
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	for _, mode := range execModes {
		conn := p.connect(t, mode)
		for _, statement := range []string{
			"ALTER TABLE customers RENAME TO clients", "ALTER TABLE public.vips RENAME TO clients", "ALTER TABLE customers RENAME email TO mail",
			"ALTER VIEW contacts RENAME COLUMN contact TO mail", "ALTER INDEX customers RENAME TO clients", "ALTER VIEW outer_contacts RENAME TO clients",
			"ALTER TABLE vips NO INHERIT customers", "ALTER TABLE customers INHERIT parent", "ALTER TABLE ONLY customers DROP COLUMN email",
			"ALTER TABLE parts ATTACH PARTITION customers DEFAULT", "ALTER MATERIALIZED VIEW kept_contacts RENAME TO clients",
			"BEGIN; ALTER TABLE customers RENAME TO clients; COMMIT", "ALTER TABLE leaving ADD COLUMN n int, NO INHERIT customers",
		} {
			_, err := conn.Exec(context.Background(), statement)
			wantState(t, err, "42501")
		}
		for _, statement := range []string{
			"ALTER TABLE customers RENAME COLUMN name TO called", "ALTER TABLE customers RENAME COLUMN called TO name", "ALTER TABLE orders RENAME TO sales",
			"ALTER TABLE sales RENAME TO orders", "ALTER TABLE child INHERIT customers",
			"ALTER TABLE customers ADD COLUMN more int", "ALTER TABLE customers DROP COLUMN more", "DROP TABLE child",
			"CREATE TABLE child (level int, LIKE customers INCLUDING ALL)",
		} {
			if _, err := conn.Exec(context.Background(), statement); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
}

// TestForeignTablesAreNotLedToMaskedOnes by options of what is there already.
func TestForeignTablesAreNotLedToMaskedOnes(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	setUp(
		t, s, "CREATE EXTENSION postgres_fdw",
		fmt.Sprintf("CREATE SERVER near FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '%d', dbname 'postgres')", s.port),
		"ALTER SERVER near OWNER TO app", "CREATE USER MAPPING FOR app SERVER near OPTIONS (user 'app', password 'app-secret')", "SET ROLE app",
		"CREATE FOREIGN TABLE sales (id int, item text) SERVER near OPTIONS (schema_name 'public', table_name 'orders')",
	)
	t.Cleanup(func() { setUp(t, s, "DROP EXTENSION postgres_fdw CASCADE") })
	p := startProxy(t, s, proxyOptions{masks: customerMasks, tapped: true})
	conn := p.connect(t, pgx.QueryExecModeExec)
	for _, statement := range []string{
		"ALTER SERVER near OPTIONS (SET dbname 'shop')", "ALTER FOREIGN TABLE sales OPTIONS (SET table_name 'customers')",
		"ALTER TABLE sales OPTIONS (SET table_name 'customers')", "ALTER TABLE sales ALTER COLUMN item OPTIONS (ADD column_name 'email')",
		"ALTER USER MAPPING FOR app SERVER near OPTIONS (SET user 'postgres')", "CREATE USER MAPPING FOR public SERVER near",
	} {
		_, err := conn.Exec(context.Background(), statement)
		wantState(t, err, "42501")
	}
	runAll(conn, "SELECT * FROM sales")
	if found := leaked(p.received(), ""); found != "" {
		t.Errorf("the client received %s", found)
	}
}
