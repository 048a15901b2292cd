package collector_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/pkg/workload"
)

// runSession records a session with one statement of each text.
func (a *agent) runSession(t testing.TB, id string, texts ...string) {
	t.Helper()
	a.runFor(t, id, "shop-db", "", texts...)
}

// runFor does what runSession does, for a repository that a token names.
func (a *agent) runFor(t testing.TB, id, resource, repository string, texts ...string) {
	t.Helper()
	who := workload.Workload{Assurance: workload.Kernel, Verified: map[string]any{}}
	if repository != "" {
		who.Assurance, who.Verified = workload.Verified, map[string]any{"repository": repository, "run_id": "1"}
	}
	s, err := a.Session(&session.Session{ID: id, Resource: resource, Protocol: "postgres", Started: time.Now(), Workload: who})
	check(t, err)
	for i, text := range texts {
		number := uint64(i + 1)
		op := operation.Operation{ID: number, Kind: operation.Statement, Text: operation.Text(text)}
		check(t, s.Intent(&op, record.Intent{Kind: "statement", Parsed: true, Effect: "allow"}, false))
		check(t, s.Chunk(number, "response", time.Millisecond, []byte("C\x00\x00\x00\x0dSELECT 1\x00")))
		check(t, s.Outcome(number, record.Outcome{Status: "ok", Tag: "SELECT 1", Rows: 1}))
	}
	check(t, s.Close(record.Closed{Reason: "client"}))
}

func (s *site) awaitSession(id string) view.Session {
	s.t.Helper()
	var found view.Session
	await(s.t, "session "+id+" is closed", func() bool {
		for _, session := range get[[]view.Session](s, "/v1/sessions") {
			if session.ID == id && session.Ended != nil {
				found = session
			}
		}
		return found.ID != ""
	})
	return found
}

// bundle exports what a query selects.
func (s *site) bundle(query string) fstest.MapFS {
	s.t.Helper()
	status, data := s.call(s.bootstrap, http.MethodGet, "/v1/export?"+query, "")
	if status != http.StatusOK {
		s.t.Fatalf("export: %d %s", status, data)
	}
	files := fstest.MapFS{}
	archive := tar.NewReader(bytes.NewReader(data))
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		check(s.t, err)
		content, err := io.ReadAll(archive)
		check(s.t, err)
		files[head.Name] = &fstest.MapFile{Data: content, Mode: 0o644}
	}
}

func (s *site) trust() translog.Trust {
	s.t.Helper()
	data, err := os.ReadFile(s.path("data/trust.json"))
	check(s.t, err)
	trust, err := translog.ParseTrust(data)
	check(s.t, err)
	return trust
}

func (s *site) verify(files fstest.MapFS) translog.Report {
	s.t.Helper()
	report, err := translog.Verify(files, s.trust())
	check(s.t, err)
	return report
}

// ofLiveChain drops the one finding that an agent that still runs may cause.
func ofLiveChain(report translog.Report) []translog.Finding {
	var rest []translog.Finding
	for _, f := range report.Findings {
		if f.Code != translog.TailOpen {
			rest = append(rest, f)
		}
	}
	return rest
}

func TestWhatAnAgentRecordsIsFoundProvenAndCannotBeAltered(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runSession(t, "first000", "SELECT name FROM customers", "DROP TABLE orders")
	a.runSession(t, "second00", "SELECT 1")
	found := s.awaitSession("first000")
	if found.Operations != 2 || found.ReportedBy != node {
		t.Errorf("session: %+v", found)
	}
	s.awaitSession("second00")
	await(t, "every batch has its receipt", func() bool { return a.Pending() == 0 })

	hits := get[struct{ Hits []view.Hit }](s, "/v1/search?q=customers").Hits
	if len(hits) != 1 || hits[0].Session != "first000" || hits[0].Operation != 1 {
		t.Errorf("search: %+v", hits)
	}
	for _, query := range []string{"since=1970-01-01T00:00:00Z", "since=1h", "session=first000"} {
		if rest := ofLiveChain(s.verify(s.bundle(query))); len(rest) > 0 {
			t.Errorf("export %s: %v", query, rest)
		}
	}
	s.alterEachRecord(s.bundle("session=first000"))
}

// alterEachRecord flips one bit in each record of a bundle in turn and expects
// that this record is named.
func (s *site) alterEachRecord(files fstest.MapFS) {
	s.t.Helper()
	altered := 0
	for name, file := range files {
		if !strings.HasPrefix(name, "records/") {
			continue
		}
		position := bytes.Index(file.Data, []byte("DROP TABLE"))
		if position < 0 {
			continue
		}
		altered++
		file.Data[position] ^= 0x20
		report := s.verify(files)
		file.Data[position] ^= 0x20
		named := false
		for _, f := range report.Findings {
			named = named || f.Code == translog.RecordAltered && f.Record >= 0 && f.Session == "first000"
		}
		if !named {
			s.t.Errorf("%s: a flipped bit is not named: %v", name, report.Findings)
		}
	}
	if altered != 1 {
		s.t.Errorf("%d files hold the statement", altered)
	}
}

func TestExportSinceATimeProvesThatPartOfTheLog(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runSession(t, "before00", "SELECT 1")
	s.awaitSession("before00")
	since := time.Now()
	a.runSession(t, "after000", "SELECT 2")
	s.awaitSession("after000")
	report := s.verify(s.bundle("since=" + url.QueryEscape(since.Format(time.RFC3339Nano))))
	if rest := ofLiveChain(report); len(rest) > 0 {
		t.Error(rest)
	}
	if report.Scope.Kind != translog.Range || report.Sessions != 1 {
		t.Errorf("scope %+v with %d sessions", report.Scope, report.Sessions)
	}
}

func TestNothingIsLostWhenCollectorAndBusAreRestartedAndTheBusIsWiped(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runSession(t, "before00", "SELECT 1")
	s.awaitSession("before00")
	s.stop()
	check(t, os.RemoveAll(s.path("data/bus")))
	a.runSession(t, "between0", "SELECT 2")
	s.start()
	s.awaitSession("between0")
	a.runSession(t, "after000", "SELECT 3")
	s.awaitSession("after000")
	await(t, "every batch has its receipt", func() bool { return a.Pending() == 0 })
	if rest := ofLiveChain(s.verify(s.bundle("since=1970-01-01T00:00:00Z"))); len(rest) > 0 {
		t.Error(rest)
	}
	if findings := get[[]view.Finding](s, "/v1/findings"); len(findings) > 0 {
		t.Error(findings)
	}
}

func TestApproverDecidesAndTheAgentLearnsIt(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	request := approval.Request{
		ID: approval.NewID(), Agent: node, Cluster: "test", Session: "first000", Operation: 1, Resource: "shop-db",
		FourEyes: approval.Waived, Action: strings.Repeat("0", 64), Text: "ALTER TABLE orders", Rule: "schema-changes",
		Scope: approval.Once, Required: approval.Required{Groups: []string{"dba"}, Votes: 1},
		Created: time.Now(), NotAfter: time.Now().Add(time.Minute),
	}
	signed, err := approval.SignRequest(request, a.key)
	check(t, err)
	await(t, "the bus takes the request", func() bool {
		return a.bus.PublishApprovalRequest(t.Context(), request.ID, signed) == nil
	})
	number := (<-a.updates).Number
	if number == 0 {
		t.Fatal("the first update is no number")
	}
	asked := get[view.Approval](s, fmt.Sprintf("/v1/approvals/%d", number))
	if asked.State != "pending" || !bytes.Equal(asked.Request, signed) {
		t.Errorf("approval: %+v", asked)
	}
	vote := s.signVote(signed, "approve")
	path := fmt.Sprintf("/v1/approvals/%d/votes", number)
	for _, refused := range []struct {
		name, token, vote string
		status            int
	}{
		{"the bootstrap token", s.bootstrap, vote, http.StatusForbidden},
		{"a responder", s.token("ada", "responders"), vote, http.StatusForbidden},
		{"another approver with ada's vote", s.token("eve", "dba"), vote, http.StatusForbidden},
		{"ada with something else", s.token("ada", "dba"), "{}", http.StatusUnprocessableEntity},
		{"ada with a vote for something else", s.token("ada", "dba"), s.signVote([]byte("x"), "approve"), http.StatusUnprocessableEntity},
	} {
		if status, body := s.call(refused.token, http.MethodPost, path, refused.vote); status != refused.status {
			t.Errorf("%s: %d %s, want %d", refused.name, status, body, refused.status)
		}
	}
	if status, body := s.call(s.token("ada", "dba"), http.MethodPost, path, vote); status != http.StatusOK {
		t.Fatalf("ada's vote: %d %s", status, body)
	}
	for u := range a.updates {
		if u.Vote != nil {
			if string(u.Vote) != vote {
				t.Error("the agent got another vote")
			}
			break
		}
	}
	if state := get[view.Approval](s, fmt.Sprintf("/v1/approvals/%d", number)).State; state != "approved" {
		t.Errorf("state: %s", state)
	}
	if status, body := s.call(s.token("ada", "dba"), http.MethodPost, path, s.signVote(signed, "deny")); status != http.StatusConflict {
		t.Errorf("a vote after the end: %d %s", status, body)
	}
}

func (s *site) signVote(request []byte, decision approval.Decision) string {
	s.t.Helper()
	signed, err := approval.SignVote(approval.Vote{
		RequestHash: approval.RequestHash(request), Decision: decision, Scope: approval.Once, Approver: "ada",
		At: time.Now(), Expires: time.Now().Add(time.Minute),
	}, s.ada)
	check(s.t, err)
	return string(signed)
}

func TestAgentEnrolledLaterIsTakenUpWithoutARestart(t *testing.T) {
	s := newSite(t)
	check(t, collector.Enrol(s.cfg, "node-2", s.path("node-2")))
	await(t, "node-2 is listed", func() bool {
		for _, chain := range get[[]view.Chain](s, "/v1/agents") {
			if chain.Agent == "node-2" {
				return true
			}
		}
		return false
	})
	if err := collector.Enrol(s.cfg, "node-2", s.path("again")); err == nil {
		t.Error("one name was enrolled twice")
	}
	if err := collector.Enrol(s.cfg, "../x", s.path("again")); err == nil {
		t.Error("a path was enrolled")
	}
}

func TestSecondCollectorIsKeptOutOfTheDirectory(t *testing.T) {
	s := newSite(t)
	other := s.cfg
	other.API.Listen, other.Bus.Listen = anyPort(t), anyPort(t)
	if c, err := collector.Open(t.Context(), other, nil); err == nil {
		check(t, c.Close())
		t.Error("two collectors use one directory")
	}
}

func TestInitDoesNotRunTwice(t *testing.T) {
	s := newSite(t)
	key, err := os.ReadFile(s.path("data/log.key"))
	check(t, err)
	if _, err := collector.Init(s.cfg); err == nil {
		t.Error("init ran twice")
	}
	after, err := os.ReadFile(s.path("data/log.key"))
	check(t, err)
	if !bytes.Equal(key, after) {
		t.Error("the log key was replaced")
	}
}

func TestUnknownTokenIsNobody(t *testing.T) {
	s := newSite(t)
	for _, token := range []string{"", "x", s.bootstrap + "x", url.QueryEscape(s.bootstrap + "\x00")} {
		if status, _ := s.call(token, http.MethodGet, "/v1/sessions", ""); status != http.StatusUnauthorized {
			t.Errorf("token %q: %d", token, status)
		}
	}
}

func TestIssuerThatIsAwayKeepsPeopleOutAndSaysSo(t *testing.T) {
	s := newSite(t)
	token := s.token("ada", "dba")
	s.login.Close()
	if status, body := s.call(token, http.MethodGet, "/v1/sessions", ""); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, body)
	}
}

func TestRolesComeFromGroups(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		groups []string
		status int
	}{
		{nil, http.StatusForbidden},
		{[]string{"strangers"}, http.StatusForbidden},
		{[]string{"strangers", "responders"}, http.StatusOK},
		{[]string{"dba"}, http.StatusForbidden},
	} {
		if status, body := s.call(s.token("bob", test.groups...), http.MethodGet, "/v1/search?q=x", ""); status != test.status {
			t.Errorf("search in groups %v: %d %s", test.groups, status, body)
		}
	}
}
