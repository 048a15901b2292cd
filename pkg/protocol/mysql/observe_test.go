package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/mysql"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

// denies denies all but what the guard itself lets pass unread.
func denies(_ context.Context, op *operation.Operation, _ func(protocol.Waiting)) (protocol.Decision, error) {
	if op.Kind == operation.Unread {
		return protocol.Decision{Effect: protocol.Allow}, nil
	}
	return protocol.Decision{Rule: "nothing"}, nil
}

// observes starts the plug-in in mode observe, before a guard that denies and
// with masks, of which nobody must notice anything.
func observes(t *testing.T, size int, masks ...mask.Column) *proxy {
	t.Helper()
	return startProxy(t, realServer(t), proxyOptions{observed: &observed{size: size}, decide: denies, masks: masks, sqlRules: true, user: "nobody", password: "none"})
}

func TestMySQLPassesAllThatIsObserved(t *testing.T) {
	m, err := mysql.New(mysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	protocoltest.Observes(t, m)
}

// as runs a program of MariaDB's as a user of the server's.
func (p *proxy) as(t *testing.T, user, password, input, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*60e9)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"--no-defaults", "-h", "127.0.0.1", "-P", strconv.Itoa(p.port), "-u", user, "--password=" + password}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// texts are those of the statements that were asked about.
func (g *guard) texts() (all []string) {
	for _, op := range g.operations(operation.Statement) {
		all = append(all, string(op.Text.Reveal()))
	}
	return all
}

// unread are the reasons for which nobody read a session on.
func (g *guard) unread() (why []string) {
	for _, op := range g.operations(operation.Unread) {
		why = append(why, op.Unread)
	}
	return why
}

// TestObservedClientWorksAsDirectly: what an unmodified client and a real server
// say to each other passes byte by byte, whatever policy says; each statement is
// recorded with what it is and how it ended, and no proof of a password.
func TestObservedClientWorksAsDirectly(t *testing.T) {
	s := realServer(t)
	file := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(file, []byte(strings.Repeat("7\tfrom a file\n", 500)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 7, 64 << 10} {
		t.Run(fmt.Sprintf("in pieces of %d", size), func(t *testing.T) {
			if err := s.sql("USE shop", "DROP TABLE IF EXISTS seen", "CREATE TABLE seen (a int, b text)"); err != nil {
				t.Fatal(err)
			}
			p := observes(t, size)
			out, err := p.as(t, "app", "app-secret", strings.Join([]string{
				"INSERT INTO seen VALUES (1, 'one'), (2, NULL)", "SELECT a, b FROM seen ORDER BY a", "SELECT no_such_column FROM seen",
				"LOAD DATA LOCAL INFILE '" + file + "' INTO TABLE seen", "SELECT COUNT(*) FROM seen", "BEGIN NOT ATOMIC SELECT 'a'; SELECT 'b', 'c'; END",
				"SELECT REPEAT('x', 20000)", "USE shop", "DROP TABLE seen",
			}, "//\n")+"//\n", "mariadb", "--local-infile=1", "--delimiter=//", "-N", "-f", "--skip-ssl", "shop")
			if err != nil || !strings.Contains(out, "1\tone\n2\tNULL\n") || !strings.Contains(out, "ERROR 1054") || !strings.Contains(out, "502\n") || !strings.Contains(out, "b\tc\n") {
				t.Fatalf("%v, %s", err, out)
			}
			said := p.observedBy(t)
			if why := p.guard.unread(); len(why) != 0 {
				t.Fatalf("not read: %v", why)
			}
			for text, want := range map[string]protocol.Outcome{
				"INSERT INTO seen VALUES (1, 'one'), (2, NULL)": {Status: protocol.OK, Tag: "INSERT 2"},
				"SELECT a, b FROM seen ORDER BY a":              {Status: protocol.OK, Rows: 2},
				"SELECT no_such_column FROM seen":               {Status: protocol.Failed, Code: "1054"},
				"DROP TABLE seen":                               {Status: protocol.OK, Tag: "DROP TABLE"},
				"SELECT REPEAT('x', 20000)":                     {Status: protocol.OK, Rows: 1},
				"USE `shop`":                                    {Status: protocol.OK, Tag: "USE"},
			} {
				p.wantOutcome(t, text, want)
			}
			connects := p.guard.operations(operation.Connect)
			if len(connects) != 1 || string(connects[0].Text.Reveal()) != "user=app database=shop" {
				t.Errorf("logged in as %v", connects)
			}
			if !bytes.Contains(p.guard.recorded.Bytes(), []byte("7\tfrom a file\n")) {
				t.Error("the file was not recorded")
			}
			p.keptNothingOf(t, said[36:200])
		})
	}
}

// observedBy waits until all sessions have ended, as they came.
func (p *proxy) observedBy(t *testing.T) []byte {
	t.Helper()
	said := p.observed.same(t)
	for range p.observed.sessions {
		if err := <-p.errs; err != nil {
			t.Errorf("a session ended with %v", err)
		}
	}
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	if len(p.guard.outcomes) != len(p.guard.seen) {
		t.Errorf("%d of %d operations ended", len(p.guard.outcomes), len(p.guard.seen))
	}
	return said
}

func (p *proxy) wantOutcome(t *testing.T, text string, want protocol.Outcome) {
	t.Helper()
	for _, op := range p.guard.operations(operation.Statement) {
		if string(op.Text.Reveal()) != text {
			continue
		}
		got := p.guard.outcome(op.ID)
		if want.Tag == "" {
			got.Tag = ""
		}
		if got != want || !op.Parsed {
			t.Errorf("%s: %+v, parsed %v", text, got, op.Parsed)
		}
		return
	}
	t.Errorf("%s was not asked about, but %q", text, p.guard.texts())
}

// keptNothingOf checks that no 12 bytes of a login were recorded.
func (p *proxy) keptNothingOf(t *testing.T, login []byte) {
	t.Helper()
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	all := bytes.Clone(p.guard.recorded.Bytes())
	for _, op := range p.guard.seen {
		all = append(all, op.Text...)
	}
	const proof = 12
	for i := 0; i+proof < len(login); i++ {
		if part := login[i : i+proof]; bytes.Contains(all, part) && bytes.ContainsFunc(part, func(r rune) bool { return r > 0x7f }) {
			t.Errorf("%d bytes at %d of the login were recorded", proof, i)
		}
	}
	if bytes.Contains(all, []byte("app-secret")) {
		t.Error("the password was recorded")
	}
}

// TestObservedLoginsAreTheClients: every plug-in of the server's, and every
// refusal of it.
func TestObservedLoginsAreTheClients(t *testing.T) {
	s := realServer(t)
	if err := s.sql("CREATE OR REPLACE USER two@'%' IDENTIFIED VIA ed25519 USING PASSWORD('other') OR mysql_native_password USING PASSWORD('second')", "GRANT ALL ON shop.* TO two@'%'"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ user, password, want string }{
		{"app", "app-secret", "app@127.0.0.1"},
		{"ed", "ed-secret", "ed@127.0.0.1"},
		{"old", "", "old@127.0.0.1"},
		{"two", "second", "two@127.0.0.1"},
		{"app", "wrong", "ERROR 1045 (28000)"},
		{"nobody", "x", "ERROR 1045 (28000)"},
	} {
		p := observes(t, 1)
		out, _ := p.as(t, test.user, test.password, "SELECT USER()", "mariadb", "-N", "--skip-ssl", "shop")
		if !strings.Contains(out, test.want) {
			t.Errorf("%s: %s", test.user, out)
		}
		p.keptNothingOf(t, p.observedBy(t))
		if why := p.guard.unread(); len(why) != 0 {
			t.Errorf("%s: not read: %v", test.user, why)
		}
		failed := strings.HasPrefix(test.want, "ERROR")
		if got := p.guard.outcome(p.guard.operations(operation.Connect)[0].ID); (got.Status == protocol.Failed) != failed || failed && got.Code != "1045" {
			t.Errorf("%s: recorded %+v", test.user, got)
		}
	}
}

// TestWhatTheJobHidesIsToldOf: a session that the job encrypts or compresses is
// relayed, and recorded as not read.
func TestWhatTheJobHidesIsToldOf(t *testing.T) {
	s := realServer(t)
	for _, test := range []struct {
		args []string
		why  string
		fact string
	}{
		{[]string{"--ssl", "--ssl-ca=" + filepath.Join(s.dir, "server.crt")}, protocol.Encrypted, "TLS"},
		{[]string{"--skip-ssl", "--compress"}, "compressed by the job", ""},
	} {
		p := observes(t, 1)
		out, err := p.as(t, "app", "app-secret", "SELECT 'hidden'", "mariadb", append(test.args, "-N", "shop")...)
		if err != nil || out != "hidden\n" {
			t.Fatalf("%v: %v, %s", test.args, err, out)
		}
		p.observedBy(t)
		ops := p.guard.operations(operation.Unread)
		if len(ops) != 1 || ops[0].Unread != test.why || len(p.guard.texts()) != 0 {
			t.Fatalf("%v: not read: %v, read %q", test.args, p.guard.unread(), p.guard.texts())
		}
		if got := p.guard.outcome(ops[0].ID); got.Status != protocol.OK || !strings.HasPrefix(got.Tag, test.fact) || strings.Contains(got.Tag, " 0 received") {
			t.Errorf("%v: recorded %+v", test.args, got)
		}
	}
}

// TestObservedProgramsSeeNoDifference: drivers that prepare, send ahead, stream
// and use cursors.
func TestObservedProgramsSeeNoDifference(t *testing.T) {
	s := realServer(t)
	classes := t.TempDir()
	if out, err := exec.Command("javac", "-d", classes, "testdata/clients/Observed.java").CombinedOutput(); err != nil {
		t.Fatalf("javac: %v: %s", err, out)
	}
	for _, size := range []int{1, 64 << 10} {
		for name, argv := range map[string][]string{
			"mariadb-dump": {"mariadb-dump", "--no-defaults", "-h", "127.0.0.1", "-u", "app", "-papp-secret", "--skip-ssl", "--compact", "--single-transaction", "shop", "customers", "-P"},
			"pymysql":      {"/usr/bin/python3", "testdata/clients/pymysql_observed.py"},
			"jdbc":         {"java", "-XX:TieredStopAtLevel=1", "-cp", classes + ":/usr/share/java/mariadb-java-client.jar", "Observed"},
		} {
			t.Run(fmt.Sprintf("%s in pieces of %d", name, size), func(t *testing.T) {
				customers(t, s)
				direct, err := exec.Command(argv[0], append(slices.Clone(argv[1:]), strconv.Itoa(s.port))...).CombinedOutput()
				if err != nil {
					t.Fatalf("directly: %v, %s", err, direct)
				}
				customers(t, s)
				p := observes(t, size)
				through, err := exec.Command(argv[0], append(slices.Clone(argv[1:]), strconv.Itoa(p.port))...).CombinedOutput()
				if err != nil || !bytes.Equal(direct, through) {
					t.Errorf("%v, directly %s, observed %s", err, direct, through)
				}
				p.observedBy(t)
				if why := p.guard.unread(); len(why) != 0 || len(p.guard.texts()) < 5 {
					t.Errorf("not read: %v; read %q", why, p.guard.texts())
				}
				for _, op := range p.guard.operations(operation.Statement) {
					if got := p.guard.outcome(op.ID); got.Status == protocol.Abandoned || !op.Parsed {
						t.Errorf("%s: %+v, parsed %v", op.Text.Reveal(), got, op.Parsed)
					}
				}
			})
		}
	}
}

// observedScript is the plug-in in mode observe.
func observedScript() protocoltest.Plugin {
	p := scripted
	p.New = func() (protocol.Protocol, error) { return mysql.New(mysql.Options{}) }
	p.Conn = func(c *protocol.Conn) { c.Observe = true }
	return p
}

const observedLogin = `
server> 0 servers
client< 0 servers
client> 1 answer "job" "shop"
ask? connect "user=job database=shop"
decide: deny "nobody" "Not even to log in."
server< 1 answer "job" "shop"
server> 2 ok
client< 2 ok
done? ok
`

func TestObservedConversations(t *testing.T) {
	p := observedScript()
	p.Prelude = observedLogin
	protocoltest.RunScripts(t, "testdata/observed", p)
}

func TestObservedLogins(t *testing.T) {
	protocoltest.RunScripts(t, "testdata/observed-logins", observedScript())
}

// TestWhatMasksHideIsNotKeptOfObservedStatements: what clients see is as it is;
// what is kept of statements, parameters and answers is sealed where masks
// apply, and where a password is set.
func TestWhatMasksHideIsNotKeptOfObservedStatements(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	for _, masks := range [][]mask.Column{customerMasks, nil} {
		p := observes(t, 64<<10, masks...)
		out, err := p.as(t, "app", "app-secret", "SELECT email FROM customers WHERE id = 1;\nUPDATE customers SET notes = 'very private' WHERE id = 2;\nSET PASSWORD = PASSWORD('app-secret');\n", "mariadb", "-N", "--skip-ssl", "shop")
		if err != nil || !strings.Contains(out, canaryEmail) {
			t.Fatalf("%v, %s", err, out)
		}
		p.observedBy(t)
		kept := strings.Join(p.guard.texts(), "\n") + p.guard.recorded.String()
		if strings.Contains(kept, "app-secret") {
			t.Errorf("a password is kept: %s", kept)
		}
		for _, value := range []string{canaryEmail, "very private"} {
			if strings.Contains(kept, value) != (masks == nil) {
				t.Errorf("%d masks: %s is kept, or not: %s", len(masks), value, kept)
			}
		}
	}
}

// TestObservedGoAndAdministration: Go's driver, in both protocols and with
// several statements, and what mariadb-admin asks.
func TestObservedGoAndAdministration(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := observes(t, 3)
	for _, options := range []string{"interpolateParams=true", "multiStatements=true", "collation=latin1_swedish_ci"} {
		db, err := sql.Open("mysql", fmt.Sprintf("app:app-secret@tcp(127.0.0.1:%d)/shop?timeout=20s&%s", p.port, options))
		if err != nil {
			t.Fatal(err)
		}
		var name string
		for id := range 3 {
			if err := db.QueryRow("SELECT name FROM customers WHERE id = ?", id+1).Scan(&name); err != nil || name != fmt.Sprintf("name%d", id+1) {
				t.Fatalf("%s: %q, %v", options, name, err)
			}
		}
		if _, err := db.Exec("UPDATE customers SET doc = ? WHERE id = 1", strings.Repeat("x", 100<<10)); err == nil {
			t.Error("a document that is none was taken")
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, args := range [][]string{{"ping"}, {"status"}, {"extended-status"}, {"processlist"}, {"kill", "4000000000"}} {
		if out, err := p.as(t, "app", "app-secret", "", "mariadb-admin", append([]string{"--skip-ssl"}, args...)...); (err != nil) != (args[0] == "kill") {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
	p.observedBy(t)
	if why := p.guard.unread(); len(why) != 0 {
		t.Errorf("not read: %v", why)
	}
	for _, op := range p.guard.operations(operation.Statement) {
		if !op.Parsed {
			t.Errorf("not understood: %.100s", op.Text.Reveal())
		}
	}
}

// TestObservedRowMayBeLongerThanAPacket: what continues it begins as an end
// would, and is none.
func TestObservedRowMayBeLongerThanAPacket(t *testing.T) {
	s := realServer(t)
	if err := s.sql("SET GLOBAL max_allowed_packet = 64 * 1024 * 1024"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.sql("SET GLOBAL max_allowed_packet = DEFAULT") }()
	p := observes(t, 64<<10)
	const long = 1<<24 - 1 + 5 - 9 // the value of a row that has 5 bytes in its second packet
	statement := fmt.Sprintf("SELECT REPEAT(X'FE', %d); SELECT 'behind';\n", long)
	out, err := p.as(t, "app", "app-secret", statement, "mariadb", "-N", "--skip-ssl", "--max-allowed-packet=64M", "--default-character-set=binary", "shop")
	if err != nil || len(out) != long+len("\nbehind\n") {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	p.observedBy(t)
	if why := p.guard.unread(); len(why) != 0 || len(p.guard.texts()) != 2 {
		t.Errorf("not read: %v; read %q", why, p.guard.texts())
	}
}
