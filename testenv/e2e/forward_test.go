package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// forwarding runs a script in a job that has a port which leads to a place
// through the SSH host.
func forwarding(to, script string) result {
	return run("job", "--", "sh", "-c", forwardTo(to)+script)
}

func forwardTo(to string) string {
	return fmt.Sprintf("ssh -fN -o ExitOnForwardFailure=yes -L 14432:%s ssh.lab && ", to)
}

const psqlThere = `psql --no-psqlrc -At "host=127.0.0.1 port=14432 user=app dbname=shop" `

// inner waits for the session that a job's connection through the host was.
func inner(t *testing.T, began time.Time, resource string) (found, parent sessionView) {
	t.Helper()
	found = newest(t, began, func(s sessionView) bool { return s.Resource == resource && s.Parent != "" })
	parent = newest(t, began, func(s sessionView) bool { return s.ID == found.Parent })
	return found, parent
}

// A database that a job reaches through a host is masked, refused and recorded
// as if it had gone there directly, in a session of its own.
func TestDatabaseBehindTheHostIsAsGuardedAsInFront(t *testing.T) {
	began := time.Now()
	r := forwarding("pg.lab:5432", psqlThere+`-c "SELECT id, name, email, ssn FROM customers WHERE id = 1" -c "DROP TABLE orders" -c "SELECT 'still here'"`)
	contains(t, r.out, "1|Ada Example|[redacted]|[redacted]", "still here")
	contains(t, r.errs, "never-drop-a-table", "Dropping a table is not for pipelines.")
	lacks(t, r.all(), "ada@example.com", "078-05-1120")
	if got := admin(t, "SELECT to_regclass('public.orders')"); got != "orders" {
		t.Errorf("the table is gone: %q", got)
	}
	session, parent := inner(t, began, "shop-db")
	if session.Masked != 2 || session.Denied != 1 || session.Assurance != "A3" || session.Kernel["container"] != parent.Kernel["container"] || parent.Resource != "build-host" {
		t.Errorf("got %+v inside of %+v", session, parent)
	}
	contains(t, ctl(t, "show", session.ID), "inside    session "+parent.ID, "DROP TABLE orders")
	shown := ctl(t, "show", "--json", parent.ID)
	lacks(t, ctl(t, "replay", parent.ID), "Ada Example", "customers")
	var told struct {
		Operations []struct {
			Kind string `json:"kind"`
			Tag  string `json:"tag"`
			SSH  struct {
				Resources []string `json:"resources"`
			} `json:"ssh"`
			Chunks []map[string]any `json:"chunks"`
		} `json:"operations"`
	}
	if err := json.Unmarshal([]byte(shown), &told); err != nil {
		t.Fatal(err)
	}
	forward := told.Operations[len(told.Operations)-1]
	if len(forward.Chunks) > 0 || forward.Tag != "session "+session.ID || !slices.Equal(forward.SSH.Resources, []string{"shop-db"}) {
		t.Errorf("of the connection itself is recorded %+v", forward)
	}
	eventually(t, "the search finds it by the session around it", func() bool {
		return strings.Contains(run("ctl", "search", parent.ID).out, session.ID)
	})
}

// Whatever the job calls it, TLS or not, and with requests on connections of
// their own.
func TestDatabaseBehindTheHostByItsOtherNames(t *testing.T) {
	address := servers(t)["pg.lab"]
	var parts [4]int
	if _, err := fmt.Sscanf(address, "%d.%d.%d.%d", &parts[0], &parts[1], &parts[2], &parts[3]); err != nil {
		t.Fatal(err)
	}
	query := psqlThere + `-c "SELECT email FROM customers WHERE id = 1"`
	for _, to := range []string{
		address + ":5432", "PG.Lab:5432", "[::ffff:" + address + "]:5432",
		fmt.Sprintf("%d:5432", parts[0]<<24|parts[1]<<16|parts[2]<<8|parts[3]),
		fmt.Sprintf("0x%x.%d.%d.0%o:5432", parts[0], parts[1], parts[2], parts[3]),
	} {
		began := time.Now()
		r := forwarding(to, query)
		lacks(t, r.all(), "ada@example.com")
		if r.out != "[redacted]\n" {
			t.Errorf("%s: %s", to, r.all())
			continue
		}
		inner(t, began, "shop-db")
	}
	r := forwarding("pg.lab.:5432", query) // which the host's own file does not have
	contains(t, r.errs, "sluice: the server cannot be reached")
	r = forwarding("pg.lab:5432", `psql --no-psqlrc -At -c "SELECT email FROM customers WHERE id = 1" \
		"host=pg.lab hostaddr=127.0.0.1 port=14432 user=app dbname=shop sslmode=verify-full sslrootcert=/run/sluice/ca.pem"`)
	contains(t, r.out, "[redacted]")
	r = forwarding("pg.lab:5432", "timeout -s INT 2 "+psqlThere+`-c "SELECT pg_sleep(60)"`)
	if r.took > 40*time.Second || !strings.Contains(r.errs, "canceling statement due to user request") {
		t.Errorf("a cancel through the host: after %v: %s", r.took, r.all())
	}
}

// servers are the lab's, by name.
func servers(t *testing.T) map[string]string {
	t.Helper()
	var status struct {
		Servers map[string]string `json:"servers"`
	}
	if err := json.Unmarshal([]byte(run("status", "--json").out), &status); err != nil {
		t.Fatal(err)
	}
	return status.Servers
}

func TestStatementBehindTheHostIsHeld(t *testing.T) {
	job, said, number := heldJob(t, []string{"sh", "-c", forwardTo("pg.lab:5432") + psqlThere + `-c "ALTER TABLE orders ADD COLUMN held_behind text"`})
	if hasColumn(t, "held_behind") {
		t.Fatal("it ran before anybody said yes")
	}
	ctl(t, "approvals", "approve", number)
	if err := job.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if !hasColumn(t, "held_behind") {
		t.Error("it was approved and did not run")
	}
}

// Who ends the session with the host ends what goes through it, in words.
func TestKilledSessionTakesWhatIsInsideAlong(t *testing.T) {
	began := time.Now()
	said := &transcript{}
	job := labCommand("job", "--", "sh", "-c", forwardTo("pg.lab:5432")+psqlThere+`-c "SELECT 'begun'" -c "SELECT pg_sleep(60)"`)
	job.Stdout, job.Stderr = said, said
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	var running sessionView
	eventually(t, "the session is at the collector", func() bool {
		running = lastSession(t)
		return running.Started.After(began) && running.Parent != "" && running.Operations >= 3
	})
	ordered := time.Now()
	ctl(t, "kill", running.Parent, "--reason", "it digs")
	if err := job.Wait(); err == nil {
		t.Errorf("the job ended well: %s", said)
	}
	if took := time.Since(ordered); took > 20*time.Second { // the sleep would take a minute
		t.Errorf("it took %v", took)
	}
	session, _ := inner(t, began, "shop-db")
	contains(t, ctl(t, "show", session.ID), "(kill)")
}

// Other places are refused as the rule says, and each is recorded.
func TestOnlyWhatIsProtectedIsReachedThroughTheHost(t *testing.T) {
	began := time.Now()
	for _, to := range []string{"127.0.0.1:22022", "169.254.169.254:80", "pg.lab:5433"} {
		r := run("job", "--", "ssh", "-W", to, "ssh.lab")
		if r.code == 0 || !strings.Contains(r.errs, `refused by rule "only-to-what-is-protected"`) {
			t.Errorf("%s: %s", to, r.all())
		}
	}
	if session := onHostSession(t, began); session.Denied != 1 {
		t.Errorf("got %+v", session)
	}
	// The host by itself, and what a job would put in a resource's place.
	r := run("job", "--", "sh", "-c", "ssh -o HostKeyAlias=ssh.lab -o ProxyCommand='ssh -W localhost:22 ssh.lab' localhost id -un")
	if strings.TrimSpace(r.out) != "deploy" {
		t.Errorf("the host through itself: %s", r.all())
	}
}

// git through a host: who pushes what is known there too.
func TestRepositoryBehindTheHostIsGuarded(t *testing.T) {
	began := time.Now()
	r := run("job", "--env", "GIT_SSH_COMMAND=ssh -J ssh.lab", "--", "sh", "-c",
		`cd "$(mktemp -d)" && git clone -q ssh://git@git.lab/srv/git/shop.git && cd shop && test -f catalogue.txt && ! git push -q origin :main`)
	if r.code != 0 || !strings.Contains(r.errs, "main-stays") {
		t.Errorf("got %s", r.all())
	}
	newest(t, began, func(s sessionView) bool { return s.Resource == "git-ssh" && s.Denied == 1 }) // the push's, behind the clone's
	session, parent := inner(t, began, "git-ssh")
	if session.Protocol != "ssh" || session.Denied != 1 || parent.Resource != "build-host" {
		t.Errorf("got %+v inside of %+v", session, parent)
	}
}
