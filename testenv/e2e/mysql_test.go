package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mysqlArgs is one unmodified mariadb that reads statements and goes on after
// one that fails.
func mysqlArgs(statements ...string) []string {
	return []string{
		"sh", "-c", `printf '%s' "$1" | mariadb -h mysql.lab -u job -pwhat-the-job-believes -N -f -c shop`, "sh",
		strings.Join(statements, ";\n") + ";\n",
	}
}

func mysql(statements ...string) result {
	return run(append([]string{"job", "--"}, mysqlArgs(statements...)...)...)
}

// adminMySQL asks the database itself, around the agent.
func adminMySQL(t *testing.T, query string) string {
	t.Helper()
	r := run("admin", "mysql", "--", "mariadb", "-N", "shop", "-e", query)
	if r.code != 0 {
		t.Fatalf("admin %s: %s", query, r.all())
	}
	return strings.TrimSpace(r.out)
}

func generalLog(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(lab.dir, "mysql", "general.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

func TestMySQLsMaskedColumnsArriveMasked(t *testing.T) {
	began := time.Now()
	r := mysql("SELECT id, name, email, ssn FROM customers ORDER BY id")
	contains(t, r.out, "1\tAda Example\t[redacted]\t[redacted]")
	if truth := adminMySQL(t, "SELECT email, ssn FROM customers WHERE id = 1"); truth != "ada@example.com\t078-05-1120" {
		t.Errorf("the database itself was changed: %s", truth)
	}
	s := newest(t, began, func(s sessionView) bool { return s.Masked == 6 })
	if s.Resource != "shop-mysql" || s.Protocol != "mysql" {
		t.Errorf("resource %q, protocol %q", s.Resource, s.Protocol)
	}
	replay := ctl(t, "replay", s.ID)
	contains(t, replay, "Ada Example", "[redacted]")
	lacks(t, replay+ctl(t, "show", "--json", s.ID), "ada@example.com", "078-05-1120")
}

func TestMySQLsRefusedStatementNeverReachesTheServerAndKeepsTheSession(t *testing.T) {
	began := time.Now()
	r := mysql("DROP TABLE /* never */ orders", "SELECT 'still here'")
	contains(t, r.out, "still here")
	contains(t, r.errs, "ERROR 1227 (42000)", "never-drop-a-table", "Dropping a table is not for pipelines.")
	lacks(t, generalLog(t), "/* never */")
	if got := adminMySQL(t, "SELECT COUNT(*) FROM orders"); got != "3" {
		t.Errorf("the table holds %q", got)
	}
	s := newest(t, began, func(s sessionView) bool { return s.Denied == 1 })
	contains(t, ctl(t, "show", s.ID), "never-drop-a-table", "DROP TABLE")
}

func TestMySQLsHeldStatementRunsOnceItIsApproved(t *testing.T) {
	held := labCommand(append([]string{"job", "--"}, mysqlArgs("ALTER TABLE orders ADD COLUMN /* by hand */ note text")...)...)
	ended := make(chan result, 1)
	go func() { ended <- resultOf(held) }()
	number := ""
	eventually(t, "the approval", func() bool {
		for line := range strings.Lines(ctl(t, "approvals")) {
			if strings.Contains(line, "shop-mysql") {
				number = strings.TrimPrefix(strings.Fields(line)[0], "#")
			}
		}
		return number != ""
	})
	lacks(t, generalLog(t), "/* by hand */")
	ctl(t, "approvals", "approve", number)
	if r := <-ended; r.code != 0 {
		t.Errorf("the approved statement failed: %s", r.all())
	}
	contains(t, generalLog(t), "/* by hand */")
	if got := adminMySQL(t, "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_NAME = 'orders' AND COLUMN_NAME = 'note'"); got != "1" {
		t.Errorf("the column is not there: %q", got)
	}
	adminMySQL(t, "ALTER TABLE orders DROP COLUMN note")
}

func TestMySQLsJobNeverSeesTheCredential(t *testing.T) {
	password, err := os.ReadFile(filepath.Join(lab.dir, "secrets", "shop-mysql"))
	if err != nil {
		t.Fatal(err)
	}
	r := mysql("SELECT CURRENT_USER()", "SHOW GRANTS", "SHOW PROCESSLIST")
	contains(t, r.out, "app@%")
	lacks(t, r.all(), strings.TrimSpace(string(password)))
	direct := run("admin", "mysql", "--", "mariadb", "-h", "127.0.0.1", "-u", "app", "-pwhat-the-job-believes", "-e", "SELECT 1")
	if direct.code == 0 {
		t.Error("what the job has for a password opens the server")
	}
}
