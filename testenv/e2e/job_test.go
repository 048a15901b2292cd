package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMaskedColumnsArriveMasked(t *testing.T) {
	began := time.Now()
	r := psql("SELECT id, name, email, ssn FROM customers ORDER BY id")
	contains(t, r.out, "1|Ada Example|[redacted]|[redacted]")
	if truth := admin(t, "SELECT email, ssn FROM customers WHERE id = 1"); truth != "ada@example.com|078-05-1120" {
		t.Errorf("the database itself was changed: %s", truth)
	}
	s := newest(t, began, func(s sessionView) bool { return s.Masked == 6 })
	lacks(t, ctl(t, "replay", s.ID)+ctl(t, "show", "--json", s.ID), "ada@example.com", "078-05-1120")
}

// TestNoWayToAMaskedValue looks for the values in everything that psql prints,
// whatever it is asked.
func TestNoWayToAMaskedValue(t *testing.T) {
	tries := []string{
		"SELECT email AS e, ssn x FROM customers",
		"SELECT customers FROM customers",
		"SELECT * FROM (SELECT ssn FROM customers) q",
		"WITH c AS MATERIALIZED (SELECT ssn FROM customers) SELECT * FROM c",
		"SELECT ssn FROM customers UNION SELECT email FROM customers",
		"SELECT upper(email), md5(ssn), ssn || '' FROM customers",
		"SELECT string_agg(ssn, ',') FROM customers",
		"SELECT row_to_json(c) FROM customers c",
		"SELECT (SELECT ssn FROM customers LIMIT 1)",
		"SELECT CASE WHEN true THEN ssn END FROM customers",
		"COPY customers TO STDOUT",
		"COPY (SELECT ssn FROM customers) TO STDOUT",
		"DO $$ DECLARE v text; BEGIN SELECT ssn INTO v FROM customers WHERE id = 1; RAISE NOTICE '%', v; END $$",
		"SELECT ssn::int FROM customers",
		"SELECT query_to_xml('SELECT ssn FROM customers', true, false, '')",
		"CREATE TABLE stolen AS SELECT ssn FROM customers",
		"INSERT INTO orders SELECT id + 1000, id, ssn, 0 FROM customers",
		"PREPARE p AS SELECT upper(ssn) FROM customers; EXECUTE p",
		"BEGIN; DECLARE c CURSOR FOR SELECT lower(ssn) FROM customers; FETCH ALL FROM c; COMMIT",
		"UPDATE customers SET name = ssn RETURNING name",
		"EXPLAIN ANALYZE SELECT * FROM customers WHERE ssn = '078-05-1120' OR ssn > (SELECT max(ssn) FROM customers)",
		"SELECT most_common_vals FROM pg_stats WHERE tablename = 'customers'",
		"SELECT histogram_bounds::text FROM pg_stats WHERE tablename = 'customers'",
		"TABLE customers",
		"VALUES ((SELECT email FROM customers WHERE id = 1))",
	}
	admin(t, "ANALYZE customers")
	for _, try := range tries {
		asked := strings.ReplaceAll(try, "078-05-1120", "")
		r := psql(asked)
		lacks(t, r.all(), "078-05-1120", "219-09-9999", "ada@example.com", "ADA@EXAMPLE.COM", "grace@example.com")
	}
	// One psql with all of them, so that what one left behind may help the next.
	r := psql(append(tries[:0:0], append(tries, "SELECT * FROM stolen", "SELECT item FROM orders", "SELECT name FROM customers")...)...)
	lacks(t, strings.ReplaceAll(r.all(), "ssn = '078-05-1120'", ""), "219-09-9999", "ada@example.com", "grace@example.com")
	if left := admin(t, "SELECT count(*) FROM orders WHERE item LIKE '%-%-%'"); left != "0" {
		t.Errorf("%s masked values were copied into another table", left)
	}
}

func TestJobThatInsistsOnTLSIsServed(t *testing.T) {
	r := run("job", "--", "psql", "--no-psqlrc", "-At", "-c", `\conninfo`, "-c", "SELECT email FROM customers WHERE id = 1",
		"host=pg.lab user=app dbname=shop sslmode=verify-full sslrootcert=/run/sluice/ca.pem")
	contains(t, r.out, "SSL connection", "[redacted]")
	r = run("job", "--", "ls", "-A", "/run/sluice")
	if r.out != "ca.pem\n" {
		t.Errorf("the job sees %q: %s", r.out, r.errs)
	}
}

func TestDeniedStatementNeverReachesTheServerAndKeepsTheSession(t *testing.T) {
	began := time.Now()
	r := psql("DROP TABLE orders", "SELECT 'still here'")
	contains(t, r.out, "still here")
	contains(t, r.errs, "ERROR:", "never-drop-a-table", "Dropping a table is not for pipelines.")
	if got := admin(t, "SELECT to_regclass('public.orders')"); got != "orders" {
		t.Errorf("the table is gone: %q", got)
	}
	log, err := os.ReadFile(filepath.Join(lab.dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	lacks(t, string(log), "DROP TABLE orders")
	s := newest(t, began, func(s sessionView) bool { return s.Denied == 1 })
	contains(t, ctl(t, "show", s.ID), "never-drop-a-table", "DROP TABLE orders")
}

func TestObfuscationDoesNotHideADrop(t *testing.T) {
	for _, try := range []string{
		"dRoP/**/tAbLe orders",
		"DROP -- x\nTABLE \"orders\"",
		"SELECT 1; DROP TABLE orders",
		"DROP TABLE U&\"\\006frders\"",
		"DO $$ BEGIN EXECUTE 'DROP TABLE orders'; END $$",
	} {
		psql(try)
		if got := admin(t, "SELECT to_regclass('public.orders')"); got != "orders" {
			t.Fatalf("%q dropped the table", try)
		}
	}
}

func TestJobSeesNeitherCredentialNorState(t *testing.T) {
	password, err := os.ReadFile(filepath.Join(lab.dir, "secrets", "shop-db"))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(password))
	r := run("job", "--", "sh", "-c", `env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\0' '\n'; ls -laR "$0" 2>&1; find / -xdev -name shop-db 2>/dev/null; ls /sys/fs/bpf /sys/fs/cgroup /run`, lab.dir)
	lacks(t, r.all(), secret, "signing.key", "secrets")
	contains(t, psql("SELECT current_user").out, "app")
	lacks(t, psql(`\conninfo`, "SELECT * FROM pg_stat_activity").all(), secret)
}

func TestSessionSaysWho(t *testing.T) {
	began := time.Now()
	r := run("job", "--name", "who-"+filepath.Base(lab.dir), "--env", "GITHUB_REPOSITORY=acme/shop", "--env", "CLAUDECODE=1", "--env", "DB_TOKEN=hunter2",
		"--", "psql", "--no-psqlrc", "-h", "pg.lab", "-U", "app", "-Atc", "SELECT 4711", "shop")
	if strings.TrimSpace(r.out) != "4711" {
		t.Fatalf("the job failed: %s", r.all())
	}
	s := newest(t, began, func(s sessionView) bool { return s.Operations > 0 })
	if s.Resource != "shop-db" || s.Protocol != "postgres" || s.Assurance != "A3" {
		t.Errorf("resource %q, protocol %q, assurance %q", s.Resource, s.Protocol, s.Assurance)
	}
	if name, _ := s.Orch["name"].(string); !strings.Contains(name, "who-") {
		t.Errorf("the container's name is not in %v", s.Orch)
	}
	if s.Verified["repository"] != "acme/shop" {
		t.Errorf("verified claims are %v", s.Verified)
	}
	if exe, _ := s.Kernel["exe"].(string); !strings.Contains(exe, "psql") {
		t.Errorf("the process is not in %v", s.Kernel)
	}
	env, _ := s.Claimed["env"].(map[string]any)
	if env["GITHUB_REPOSITORY"] != "acme/shop" || env["DB_TOKEN"] != nil {
		t.Errorf("claimed environment is %v", env)
	}
	if s.Agent["kind"] != "ai" {
		t.Errorf("agent is %v", s.Agent)
	}
	contains(t, ctl(t, "search", "4711"), s.ID)
}

// TestStatementThatChangesTooManyRowsIsUndone asks the database itself, and the
// trail, what became of it.
func TestStatementThatChangesTooManyRowsIsUndone(t *testing.T) {
	began := time.Now()
	r := psql("UPDATE orders SET cents = cents + 1 WHERE id < 4")
	contains(t, r.all(), `refused by rule "orders-change-a-few-at-a-time": it changed 3 rows, which is more than 2, and was undone`)
	r = psql("UPDATE orders SET cents = cents + 1 WHERE id < 3")
	contains(t, r.all(), "UPDATE 2")
	if truth := admin(t, "SELECT cents FROM orders WHERE id < 4 ORDER BY id"); truth != "1251\n121\n4900" {
		t.Errorf("the orders cost %s", truth)
	}
	admin(t, "UPDATE orders SET cents = cents - 1 WHERE id < 3")
	newest(t, began, func(s sessionView) bool {
		shown := ctl(t, "show", s.ID)
		return s.Denied == 1 && strings.Contains(shown, "orders-change-a-few-at-a-time") && strings.Contains(shown, "UPDATE 3")
	})
}
