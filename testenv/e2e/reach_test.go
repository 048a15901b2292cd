package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// withStock makes a table of 5,000 rows with a view on it, in which a look that
// calls what it must not call leaves a trace that no rollback takes away. All
// that the server is asked is in its log.
func withStock(t *testing.T) {
	t.Helper()
	drop := "DROP TABLE IF EXISTS stock CASCADE; DROP SEQUENCE IF EXISTS called; DROP FUNCTION IF EXISTS sly(int)"
	admin(t, drop)
	admin(t, `SET ROLE app; CREATE TABLE stock AS SELECT g AS id, g % 10 AS shelf, 'thing ' || g AS item FROM generate_series(1, 5000) g;
		CREATE VIEW top_shelf AS SELECT id FROM stock WHERE shelf = 9; CREATE SEQUENCE called;
		CREATE FUNCTION sly(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('called'); RETURN $1; END $$`)
	admin(t, "ANALYZE stock")
	logging := func(what string) {
		t.Helper()
		admin(t, "ALTER SYSTEM SET log_statement = "+what)
		admin(t, "SELECT pg_reload_conf()")
	}
	logging("'all'")
	t.Cleanup(func() {
		logging("DEFAULT")
		admin(t, drop)
	})
}

// serverLog returns what the server logs while something is done.
func serverLog(t *testing.T, do func()) string {
	t.Helper()
	file := filepath.Join(lab.dir, "postgres.log")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	do()
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(after[len(before):])
}

// untouched is what a change of stock, or a call, would alter: its rows with
// the transactions that wrote them, the server's own counters, its columns, and
// the sequence.
func untouched(t *testing.T) string {
	t.Helper()
	return admin(t, `SELECT pg_stat_force_next_flush(); SELECT md5(string_agg(xmin::text || xmax::text || stock::text, ',' ORDER BY id)) FROM stock;
		SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relname = 'stock';
		SELECT count(*) FROM information_schema.columns WHERE table_name = 'stock'; SELECT last_value, is_called FROM called`)
}

// reach is what sluice approvals show --json says of one statement.
type reach struct {
	Kind               string
	Estimated, Counted *int64
	Unknown            string
	Relations          []struct {
		Name, Kind, Lock string
		Rows, Bytes      int64
		Dependants       []string
	}
}

func TestApproverSeesWhatAHeldStatementWouldTouchAndNothingIsTouched(t *testing.T) {
	withStock(t)
	before := untouched(t)
	page := approversPages(t)
	for _, test := range []struct {
		statement, lock string
		counted         int64 // -1: not counted
		estimated       bool
		shows           []string
	}{
		{"UPDATE stock SET shelf = 0 WHERE id <= 1000", "ROW EXCLUSIVE", 1000, true, []string{"1000 rows, counted", "public.stock", "top_shelf"}},
		{"DELETE FROM stock WHERE shelf = 3", "ROW EXCLUSIVE", 500, true, []string{"500 rows, counted", "by the planner"}},
		{"DELETE FROM stock WHERE id = sly(3)", "ROW EXCLUSIVE", -1, false, []string{"public.stock"}},
		{"UPDATE stock SET id = sly(id) WHERE shelf < 5", "ROW EXCLUSIVE", 2500, true, []string{"2500 rows, counted"}},
		{"ALTER TABLE stock ADD COLUMN note text", "ACCESS EXCLUSIVE", -1, false, []string{"ACCESS EXCLUSIVE", "top_shelf"}},
	} {
		var number, text, shown string
		log := serverLog(t, func() {
			job, said, n := held(t, test.statement)
			number, text, shown = n, ctl(t, "approvals", "show", n, "--json"), page("/approvals/"+n)
			ctl(t, "approvals", "deny", n)
			if job.Wait() == nil {
				t.Errorf("%s: the job ended well: %s", test.statement, said)
			}
		})
		var asked struct {
			Request struct {
				Reach struct{ Statements []reach }
			}
		}
		if err := json.Unmarshal([]byte(text), &asked); err != nil || len(asked.Request.Reach.Statements) != 1 {
			t.Fatalf("%s: %v: %s", test.statement, err, text)
		}
		r := asked.Request.Reach.Statements[0]
		if test.counted >= 0 && (r.Counted == nil || *r.Counted != test.counted) || test.counted < 0 && r.Counted != nil {
			t.Errorf("%s: counted %v, want %d: %s", test.statement, r.Counted, test.counted, text)
		}
		if test.estimated != (r.Estimated != nil) || !test.estimated && test.counted < 0 && r.Counted != nil {
			t.Errorf("%s: estimated %v: %s", test.statement, r.Estimated, text)
		}
		if len(r.Relations) != 1 || r.Relations[0].Name != "public.stock" || r.Relations[0].Lock != test.lock || r.Relations[0].Rows != 5000 || r.Relations[0].Bytes < 5000 {
			t.Errorf("%s: %+v", test.statement, r.Relations)
		}
		contains(t, shown, test.shows...)
		if found := changing.FindString(log); found != "" {
			t.Errorf("%s (approval %s): the server was told %q", test.statement, number, found)
		}
		if test.estimated != strings.Contains(log, "EXPLAIN") || !strings.Contains(log, "READ ONLY") {
			t.Errorf("%s: who looked at the server logged:\n%s", test.statement, log)
		}
	}
	if after := untouched(t); after != before {
		t.Errorf("a look changed something:\n%s\nwas\n%s", after, before)
	}
}

func TestHoldInsideATransactionIsCappedAndSaysSo(t *testing.T) {
	withStock(t)
	job, said, number := heldJob(t, psqlArgs("BEGIN", "DELETE FROM stock WHERE id = 1", "COMMIT"))
	contains(t, said.String(), "A transaction is open", "at most 1m0s")
	var asked struct {
		Request struct {
			Created  time.Time
			NotAfter time.Time `json:"not_after"`
		}
	}
	text := ctl(t, "approvals", "show", number, "--json")
	if err := json.Unmarshal([]byte(text), &asked); err != nil || asked.Request.NotAfter.Sub(asked.Request.Created) != time.Minute {
		t.Errorf("%v: the rule's ten minutes are %v", err, asked.Request.NotAfter.Sub(asked.Request.Created))
	}
	contains(t, text, "A transaction is open")
	ctl(t, "approvals", "approve", number)
	if err := job.Wait(); err != nil || admin(t, "SELECT count(*) FROM stock") != "4999" {
		t.Errorf("what was approved in time: %v: %s", err, said)
	}
}

// changing is a statement in the server's log that is not only planned.
var changing = regexp.MustCompile(`(?i)(statement|execute [^:]*): *(UPDATE|DELETE|ALTER TABLE|EXPLAIN[^:]*ANALYZE)[^\n]*`)

// approversPages logs the approver in at the console, and returns what reads
// its pages.
func approversPages(t *testing.T) func(path string) string {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(lab.dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	var status struct{ Console string }
	if err := json.Unmarshal([]byte(run("status", "--json").out), &status); err != nil {
		t.Fatal(err)
	}
	ask := func(method, address string, form url.Values) (string, *url.URL) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", answer.Request.URL, answer.Status, err)
		}
		return string(body), answer.Request.URL
	}
	_, at := ask(http.MethodGet, status.Console+"/login", nil)
	ask(http.MethodPost, at.String(), url.Values{"id": {at.Query().Get("authRequestID")}, "name": {"approver"}})
	return func(path string) string {
		t.Helper()
		body, _ := ask(http.MethodGet, status.Console+path, nil)
		return body
	}
}
