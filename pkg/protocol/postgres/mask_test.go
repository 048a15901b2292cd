package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
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
			_, err := conn.Exec(ctx, "SELECT upper(email) FROM customers WHERE id = $1", 3)
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
	for _, statement := range []string{"ALTER TABLE customers RENAME COLUMN email TO mail", "ALTER TABLE customers RENAME TO clients"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, session := range []*pgx.Conn{conn, other} {
		var mail string
		if err := session.QueryRow(ctx, "SELECT mail FROM clients WHERE id = 1").Scan(&mail); err != nil || mail != "[redacted]" {
			t.Fatalf("got %q, %v", mail, err)
		}
		_, err := session.Exec(ctx, "SELECT mail||'' FROM clients")
		wantState(t, err, "42501")
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
