package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestOneChangedByteIsNamed(t *testing.T) {
	began := time.Now()
	psql("SELECT 'the tampered record'")
	s := newest(t, began, func(s sessionView) bool { return s.Operations > 0 })
	bundle := filepath.Join(t.TempDir(), "bundle")
	eventually(t, "the session is exported whole", func() bool {
		_ = os.RemoveAll(bundle)
		return run("ctl", "export", "--session", s.ID, "-o", bundle).code == 0 && run("ctl", "verify", bundle).code == 0 // its closing is there
	})
	changed := false
	err := filepath.WalkDir(bundle, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || changed {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := bytes.Index(data, []byte("the tampered record"))
		if at < 0 {
			return nil
		}
		changed = true
		data[at] ^= 1
		return os.WriteFile(path, data, 0o600)
	})
	if err != nil || !changed {
		t.Fatalf("no record was changed: %v", err)
	}
	r := run("ctl", "verify", bundle)
	if r.code != 1 {
		t.Errorf("exit status %d, want 1: %s", r.code, r.all())
	}
	contains(t, r.all(), "record-altered", s.ID)
}

// TestValueForAMaskedColumnIsRecordedSealed writes one by a script, because a
// command line is recorded with the session's claims as it is.
func TestValueForAMaskedColumnIsRecordedSealed(t *testing.T) {
	began := time.Now()
	const canary = "canary-4711@example.com"
	job := labCommand(append([]string{"job", "--"}, psqlArgs()...)...)
	job.Stdin = strings.NewReader("INSERT INTO customers VALUES (99, 'Sealed Example', '" + canary + "', '000-00-0000', 'Paris');\n")
	if out, err := job.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := admin(t, "DELETE FROM customers WHERE id = 99 RETURNING email"); !strings.HasPrefix(got, canary) {
		t.Fatalf("the server got %q", got)
	}
	s := newest(t, began, func(s sessionView) bool { return s.Operations > 1 })
	shown := ctl(t, "show", "--json", s.ID)
	lacks(t, shown, canary, "000-00-0000")
	contains(t, shown, "[sealed hmac-sha256:")
	bundle := filepath.Join(t.TempDir(), "bundle")
	ctl(t, "export", "--session", s.ID, "-o", bundle)
	err := filepath.WalkDir(bundle, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		lacks(t, string(data), canary, "000-00-0000")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKilledAgentLosesNoRecordOfAForwardedOperation kills the agent while jobs
// write, and then asks the database what got through: all of it must have an
// intent in the trail.
func TestKilledAgentLosesNoRecordOfAForwardedOperation(t *testing.T) {
	admin(t, "CREATE TABLE load (id bigint); ALTER TABLE load OWNER TO app")
	script := filepath.Join(t.TempDir(), "load.sql")
	if err := os.WriteFile(script, []byte("\\set n random(1, 1000000000000)\nINSERT INTO load VALUES (:n);\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	job := labCommand("job", "--env", "PGUSER=app", "--", "pgbench", "-h", "pg.lab", "-n", "-f", script, "-c", "4", "-T", "30", "shop")
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the load is under way", func() bool {
		n, err := strconv.Atoi(admin(t, "SELECT count(*) FROM load"))
		return err == nil && n > 200
	})
	if r := run("kill", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
	_ = job.Wait() // pgbench reports the broken connections by its status
	if r := run("start", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
	inserted := strings.Fields(admin(t, "SELECT id FROM load"))
	bundle := filepath.Join(t.TempDir(), "bundle")
	var missing int
	eventually(t, "every inserted row has its intent", func() bool {
		_ = os.RemoveAll(bundle)
		if r := run("ctl", "export", "--since", "1h", "-o", bundle); r.code != 0 {
			t.Fatal(r.all())
		}
		seen := insertsIn(t, bundle)
		missing = 0
		for _, id := range inserted {
			if !seen[id] {
				missing++
			}
		}
		t.Logf("%d rows, %d without an intent so far", len(inserted), missing)
		return missing == 0
	})
	ctl(t, "verify", bundle)
}

var insertText = regexp.MustCompile(`INSERT INTO load VALUES \((\d+)\)`)

func insertsIn(t *testing.T, bundle string) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	err := filepath.WalkDir(bundle, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, match := range insertText.FindAllSubmatch(data, -1) {
			seen[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestPolicyErrorsComeAllAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yaml")
	bad := `version: 1
resources:
  - {name: shop-db, protocol: postgres, hosts: [pg.lab], port: 5432, credentials: [{user: app, password_file: p}]}
rules:
  - {name: a, when: 'op.sql.statments.exists(s, true)', effect: deny}
  - {name: b, effect: hodl}
  - {name: c, when: 'claimed.env["X"] == "y"', effect: allow}
default: perhaps
`
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run("ctl", "policy", "check", file)
	if r.code == 0 {
		t.Error("a wrong policy is accepted")
	}
	contains(t, r.all(), "rules[0].when", "rules[1].effect", "rules[2].when", "default")
}
