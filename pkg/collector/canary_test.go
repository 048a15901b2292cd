package collector_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/postgres"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/siem"
	"github.com/sluicegate/sluice/pkg/translog"
)

// canaryPolicy has one resource with masks and one without, which shows that
// the canaries would be found if they were there.
const canaryPolicy = `version: 1
resources:
  - {name: shop-db, protocol: postgres, hosts: [192.0.2.1], port: 5432, credentials: [{user: postgres, password_file: p}]}
  - {name: open-db, protocol: postgres, hosts: [192.0.2.2], port: 5432, credentials: [{user: postgres, password_file: p}]}
masks:
  - {name: pii, resources: [shop-db], columns: [public.customers.email], method: redact}
  - {name: secrets, resources: [shop-db], detect: [jwt, aws_key, github_token, credit_card, private_key], method: redact}
default: allow
`

// The canaries: each is something that a detector finds, but for the address,
// which only the masked column holds.
const (
	canaryToken = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
	canaryAWS   = "AKIAIOSFODNN7EXAMPLE"
	canaryCard  = "4111111111111111"
	canaryJWT   = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLWEtY2FuYXJ5"
	canaryEmail = "kanarie.zq7@example.test"
)

// canaryScript sends each canary in another place of a request, and once as an
// answer. The word ordinary4711 is kept.
var canaryScript = strings.NewReplacer("TOKEN", canaryToken, "AWS", canaryAWS, "CARD", canaryCard, "JWT", canaryJWT, "EMAIL", canaryEmail).Replace(`
INSERT INTO notes VALUES ('ordinary4711'), ('TOKEN');
INSERT INTO notes VALUES ($$JWT$$) /* AWS */;
PREPARE note AS INSERT INTO notes VALUES ($1); EXECUTE note('AWS');
SELECT 'ordinary4711', CARD;
SELECT a FROM notes WHERE a LIKE '%TOKEN%';
DO 'BEGIN PERFORM ''JWT''; END';
SELEKT 'CARD';
COPY notes FROM STDIN;
ordinary COPY data with TOKEN
and CARD
\.
COPY customers (email) FROM STDIN;
EMAIL
\.
INSERT INTO customers VALUES ('EMAIL');
UPDATE customers SET email = email || ' of EMAIL';
`)

var canaries = []string{canaryToken, canaryAWS, canaryCard, canaryJWT, canaryEmail}

// database is a real PostgreSQL of this test's own; nobody else can reach it.
type database struct {
	t    *testing.T
	dir  string
	port int
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice-canary-") // t.TempDir is not the user postgres's to enter
	check(t, err)
	check(t, os.Chmod(dir, 0o777))
	d := &database{t: t, dir: dir, port: int(anyPort(t).Port())}
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	d.run("initdb", "-D", d.path("data"), "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres")
	d.run("pg_ctl", "-D", d.path("data"), "-w", "-l", d.path("log"), "-o", fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1 -c fsync=off", d.port, dir), "start")
	t.Cleanup(func() { d.run("pg_ctl", "-D", d.path("data"), "-m", "immediate", "stop") })
	d.psql(d.port, "CREATE TABLE notes (a text); CREATE TABLE customers (email text);")
	return d
}

func (d *database) path(name string) string { return filepath.Join(d.dir, name) }

// run runs one of PostgreSQL's own programs as the user postgres.
func (d *database) run(program string, args ...string) {
	d.t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	check(d.t, err)
	if len(found) == 0 {
		d.t.Fatalf("%s is not installed", program)
	}
	args = append([]string{"--reuid=postgres", "--regid=postgres", "--clear-groups", found[len(found)-1]}, args...)
	cmd := exec.Command("setpriv", args...)
	cmd.Dir = d.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// psql runs a script at a port and returns what it printed. What a statement
// does wrong is the script's own affair.
func (d *database) psql(port int, script string) string {
	d.t.Helper()
	cmd := exec.Command("psql", "-X", "-At", "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres", "postgres")
	cmd.Env = append(os.Environ(), "PGPASSWORD=job")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	check(d.t, err)
	return string(out)
}

// serve puts the PostgreSQL plug-in, with policy, guard and the agent's trail,
// before the database, and returns the port that jobs use.
func (d *database) serve(a *agent, id, resource string) (port int) {
	d.t.Helper()
	pol, err := policy.Parse("policy.yaml", []byte(canaryPolicy))
	check(d.t, err)
	plugin, err := postgres.New(postgres.Options{})
	check(d.t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(d.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	d.t.Cleanup(func() {
		cancel()
		l.Close()
		served.Wait()
	})
	served.Go(func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		s := &session.Session{ID: id, Resource: resource, Protocol: "postgres", Destination: netip.MustParseAddrPort("192.0.2.1:5432"), Started: time.Now()}
		trail, err := a.Session(s)
		if err != nil {
			d.t.Error(err)
			return
		}
		g := guard.New(guard.Config{
			Session: s, Policy: func() *policy.Policy { return pol }, Trail: trail, Agent: node, Cluster: "test",
			Hold: func() (func(), bool) { return func() {}, true }, Stopped: func() *approval.Order { return nil },
		})
		err = plugin.Serve(ctx, &protocol.Conn{
			Session: s, Client: client, Guard: g, Masks: pol.Masks(resource), MaskKey: bytes.Repeat([]byte{7}, 32), Seal: trail.Seal,
			SQLRules: pol.ReadsSQL(resource), Log: zap.NewNop(), TLS: protocol.ServerTLS{Mode: protocol.TLSOff},
			Credential: protocol.Credential{User: "postgres", Password: "unused"},
			Dial: func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(d.port))
			},
		})
		if err := g.Close("client"); err != nil {
			d.t.Error(err)
		}
		if err != nil {
			d.t.Error(err)
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// told is everything that the collector has of a session, by where it was
// found: the bundle, each format, and the files of the data directory.
func (s *site) told(id string) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	bundle := s.bundle("session=" + id)
	for name, file := range bundle {
		all["bundle/"+name] = string(file.Data)
	}
	for _, format := range siem.Formats() {
		var reader siem.Reader
		var out []byte
		for stored, err := range translog.ReadBundle(bundle) {
			check(s.t, err)
			events, err := reader.Events(siem.Batch{Agent: node, Index: stored.Index, Entries: stored.Entries})
			check(s.t, err)
			for i := range events {
				out, err = format.Append(out, &events[i])
				check(s.t, err)
			}
		}
		all[string(format)] = string(out)
	}
	check(s.t, filepath.WalkDir(s.path("data"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, s.dir)] = string(data)
		return err
	}))
	return all
}

// hits counts what a search finds of a session.
func (s *site) hits(id, words string) int {
	s.t.Helper()
	n := 0
	for _, hit := range get[view.Found](s, "/v1/search?q="+url.QueryEscape(words)).Hits {
		if hit.Session == id {
			n++
		}
	}
	return n
}

// bind sends one statement with a bound value, as a driver does.
func (d *database) bind(port int, statement, value string) {
	d.t.Helper()
	conn, err := pgconn.Connect(d.t.Context(), fmt.Sprintf("postgres://postgres:job@127.0.0.1:%d/postgres?sslmode=disable", port))
	check(d.t, err)
	defer conn.Close(d.t.Context())
	check(d.t, conn.ExecParams(d.t.Context(), statement, [][]byte{[]byte(value)}, []uint32{25}, nil, nil).Read().Err)
}

// play sends the canaries to the database as a resource, in two sessions, and
// returns what the collector has of them once it has indexed them.
func (s *site) play(d *database, a *agent, resource string) (ids []string, found map[string]string) {
	s.t.Helper()
	ids = []string{resource + "1", resource + "2"}
	d.psql(d.serve(a, ids[0], resource), canaryScript)
	d.bind(d.serve(a, ids[1], resource), "INSERT INTO notes VALUES ($1 || ' ordinary4711')", canaryToken)
	found = map[string]string{}
	for _, id := range ids {
		s.awaitSession(id)
		await(s.t, "its words are indexed", func() bool { return s.hits(id, "ordinary4711") > 0 })
		for where, text := range s.told(id) {
			found[where] += text
		}
	}
	return ids, found
}

// TestSecretsOfRequestsAreNowhere sends secrets through the real plug-in to a
// real PostgreSQL, in statements, parameters and COPY data. The server has
// them; no record, index, bundle or export does.
func TestSecretsOfRequestsAreNowhere(t *testing.T) {
	s := newSite(t)
	d := newDatabase(t)
	ids, found := s.play(d, s.agent(), "shop-db")
	for _, canary := range canaries {
		if got := d.psql(d.port, fmt.Sprintf("SELECT count(*) FROM (SELECT a FROM notes UNION ALL SELECT email FROM customers) t(x) WHERE x LIKE '%%%s%%'", canary)); got == "0\n" {
			t.Errorf("the server did not get %s", canary)
		}
		for where, text := range found {
			if strings.Contains(strings.ToLower(text), strings.ToLower(canary)) {
				t.Errorf("%s is in %s", canary, where)
			}
		}
		for _, id := range ids {
			if s.hits(id, canary) > 0 {
				t.Errorf("a search finds %s in %s", canary, id)
			}
		}
	}
	for _, format := range siem.Formats() {
		if !strings.Contains(found[string(format)], "sealed hmac-sha256:") || !strings.Contains(found[string(format)], "ordinary4711") {
			t.Errorf("%s holds neither what was sealed nor the rest:\n%s", format, found[string(format)])
		}
	}
}

// TestSecretsWouldBeFoundWithoutMasks sends the same without masks: what the
// test above looks for is what it would find.
func TestSecretsWouldBeFoundWithoutMasks(t *testing.T) {
	s := newSite(t)
	ids, found := s.play(newDatabase(t), s.agent(), "open-db")
	for _, canary := range canaries {
		for _, format := range siem.Formats() {
			if !strings.Contains(found[string(format)], canary) {
				t.Errorf("%s is not in %s", canary, format)
			}
		}
		if s.hits(ids[0], canary) == 0 {
			t.Errorf("no search finds %s", canary)
		}
	}
}
