package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	reviewedCommit = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
	otherCommit    = "beef0000beef0000beef0000beef0000beef0000"
)

// TestReviewedFileReleasesItsStatementsForItsCommitAlone signs a migration
// beforehand. The server says what ran.
func TestReviewedFileReleasesItsStatementsForItsCommitAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "12.sql")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	policy, err := os.ReadFile(filepath.Join(lab.dir, "agent", "agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, issuer, _ := strings.Cut(string(policy), "- issuer: ")
	issuer, _, _ = strings.Cut(issuer, "\n")
	sign := []string{
		"ctl", "policy", "shapes", "--json", "--sign", "--send", "--rule", "schema-changes-need-a-person", "--resource", "shop-db", "--database", "shop",
		"--role", "app", "--issuer", issuer, "--repository", "acme/shop", "--commit", reviewedCommit, "--for", "5m", file,
	}
	write("DO $$ BEGIN EXECUTE 'ALTER TABLE orders ADD COLUMN reviewed_one text'; END $$;")
	if r := run(sign...); r.code == 0 {
		t.Errorf("code that shows nothing was signed: %s", r.all())
	}
	write("-- reviewed in a pull request\nALTER TABLE orders ADD COLUMN reviewed_one text DEFAULT 'a';\nALTER TABLE orders ADD COLUMN reviewed_two integer;\n")
	signed := run(sign...)
	var given struct{ ID, File string }
	if err := json.Unmarshal([]byte(signed.out), &given); err != nil || given.ID == "" {
		t.Fatalf("%v: %s", err, signed.all())
	}

	began := time.Now()
	released := func(commit string, statements ...string) result {
		return run(append([]string{"job", "--commit", commit, "--"}, psqlArgs(statements...)...)...)
	}
	r := released(reviewedCommit, "ALTER TABLE orders ADD COLUMN reviewed_one text DEFAULT 'a'", "ALTER  TABLE orders -- spaced\n ADD COLUMN reviewed_two integer")
	if r.code != 0 || approvalNumber.MatchString(r.all()) || !hasColumn(t, "reviewed_one") || !hasColumn(t, "reviewed_two") {
		t.Fatalf("what was reviewed did not go on by itself: %s", r.all())
	}
	s := newest(t, began, func(s sessionView) bool { return s.Operations > 2 })
	contains(t, ctl(t, "show", s.ID), "pre-approved", given.File, "line 2", "line 3", "approver")
	admin(t, "ALTER TABLE orders DROP COLUMN reviewed_one, DROP COLUMN reviewed_two")

	asked := func(name, commit string, statements ...string) {
		t.Helper()
		job, said, number := heldJob(t, psqlArgs(statements...), "--commit", commit)
		ctl(t, "approvals", "deny", number)
		if err := job.Wait(); err == nil {
			t.Errorf("%s: the job ended well: %s", name, said)
		}
		if hasColumn(t, "reviewed_one") || hasColumn(t, "reviewed_two") {
			t.Fatalf("%s: it ran: %s", name, said)
		}
	}
	const one = "ALTER TABLE orders ADD COLUMN reviewed_one text DEFAULT 'a'"
	asked("another commit", otherCommit, one)
	asked("another literal", reviewedCommit, strings.Replace(one, "'a'", "'b'", 1))
	asked("another table", reviewedCommit, strings.Replace(one, "orders", "customers", 1))
	asked("one more statement", reviewedCommit, one+"; ALTER TABLE orders ADD COLUMN reviewed_two text")
	asked("DO", reviewedCommit, "DO $$ BEGIN EXECUTE 'ALTER TABLE orders ADD COLUMN reviewed_two integer'; END $$")
	asked("EXECUTE", reviewedCommit, "PREPARE p AS SELECT 1; EXECUTE p")
	asked("another search_path", reviewedCommit, "SET search_path = pg_temp, public", one)
	asked("after what was not reviewed", reviewedCommit, "CREATE TEMPORARY TABLE other (x integer)", one)

	ctl(t, "policy", "shapes", "--withdraw", given.ID)
	asked("what was withdrawn", reviewedCommit, one)
}
