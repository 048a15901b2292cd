package collector_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/translog"
)

// ask sends a request of the agent's and returns its number.
func (a *agent) ask(t testing.TB, resource, repository string, change func(*approval.Request)) (number uint64, signed []byte) {
	t.Helper()
	request := approval.Request{
		ID: approval.NewID(), Agent: node, Cluster: "test", Session: "first000", Operation: 1, Resource: resource,
		Requester: approval.Requester{Repository: repository},
		FourEyes:  approval.Waived, Action: strings.Repeat("0", 64), Text: "ALTER TABLE secret_of_" + resource, Rule: "schema-changes",
		Scope: approval.Once, Required: approval.Required{Groups: []string{"dba"}, Votes: 1},
		Created: time.Now(), NotAfter: time.Now().Add(time.Minute),
	}
	change(&request)
	signed, err := approval.SignRequest(request, a.key)
	check(t, err)
	await(t, "the bus takes the request", func() bool {
		return a.bus.PublishApprovalRequest(t.Context(), request.ID, signed) == nil
	})
	return (<-a.updates).Number, signed
}

// TestNoRouteShowsATeamWhatIsAnothers asks each route for what belongs to
// somebody else. "ours" and "theirs" are the two sessions' ids.
func TestNoRouteShowsATeamWhatIsAnothers(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runFor(t, "ours0000", "shop-db", "acme/shop", "SELECT needle")
	a.runFor(t, "theirs00", "shop-db", "acme/wiki", "SELECT needle")
	a.runFor(t, "nobodys0", "shop-db", "", "SELECT needle")
	a.runFor(t, "other000", "hr-db", "acme/shop", "SELECT needle")
	for _, id := range []string{"ours0000", "theirs00", "nobodys0", "other000"} {
		s.awaitSession(id)
	}
	ours, _ := a.ask(t, "shop-db", "acme/shop", nothing)
	theirs, signed := a.ask(t, "shop-db", "acme/wiki", nothing)
	elsewhere, _ := a.ask(t, "hr-db", "acme/shop", nothing)
	token := s.token("ada", "team-a")
	hidden := []string{"theirs00", "nobodys0", "other000", "acme/wiki", "hr-db"}
	for _, route := range []struct {
		method, path, body string
		status             int
		shows              string // for what is ours
	}{
		{http.MethodGet, "/v1/sessions", "", 200, "ours0000"},
		{http.MethodGet, "/v1/sessions?resource=hr-db", "", 200, "[]"},
		{http.MethodGet, "/v1/sessions?repository=acme/wiki", "", 200, "[]"},
		{http.MethodGet, "/v1/sessions?run=verified:acme/wiki/1", "", 200, "[]"},
		{http.MethodGet, "/v1/sessions?before=theirs00", "", 404, ""},
		{http.MethodGet, "/v1/sessions/ours0000", "", 200, "acme/shop"},
		{http.MethodGet, "/v1/sessions/theirs00", "", 404, ""},
		{http.MethodGet, "/v1/sessions/nobodys0", "", 404, ""},
		{http.MethodGet, "/v1/sessions/other000", "", 404, ""},
		{http.MethodGet, "/v1/sessions/ours0000/records", "", 200, "needle"},
		{http.MethodGet, "/v1/sessions/theirs00/records", "", 404, ""},
		{http.MethodGet, "/v1/sessions/theirs00/records?after=0", "", 404, ""},
		{http.MethodGet, "/v1/runs", "", 200, "acme/shop/1"},
		{http.MethodGet, "/v1/search?q=needle", "", 200, "ours0000"},
		{http.MethodGet, "/v1/search?q=theirs00", "", 200, `"hits":[]`},
		{http.MethodGet, "/v1/export?session=ours0000", "", 200, "needle"},
		{http.MethodGet, "/v1/export?session=theirs00", "", 404, ""},
		{http.MethodGet, "/v1/export?since=1h", "", 403, ""},
		{http.MethodGet, "/v1/findings", "", 403, ""},
		{http.MethodGet, "/v1/orders", "", 403, ""},
		{http.MethodPost, "/v1/orders", string(s.signKill("theirs00")), 404, ""},
		{http.MethodGet, "/v1/agents", "", 200, node},
		{http.MethodGet, "/v1/checkpoint", "", 200, "checkpoint"},
		{http.MethodGet, "/v1/whoami", "", 200, "ada"},
		{http.MethodGet, "/v1/approvals", "", 200, "secret_of_shop-db"},
		{http.MethodGet, "/v1/approvals?state=pending", "", 200, "secret_of_shop-db"},
		{http.MethodGet, fmt.Sprintf("/v1/approvals/%d", ours), "", 200, "secret_of_shop-db"},
		{http.MethodGet, fmt.Sprintf("/v1/approvals/%d", theirs), "", 404, ""},
		{http.MethodGet, fmt.Sprintf("/v1/approvals/%d", elsewhere), "", 404, ""},
		{http.MethodPost, fmt.Sprintf("/v1/approvals/%d/votes", theirs), string(s.signVote(signed, "approve")), 404, ""},
	} {
		status, body := s.call(token, route.method, route.path, route.body)
		if status != route.status || !strings.Contains(string(body), route.shows) {
			t.Errorf("%s %s: %d %.300s, want %d with %q", route.method, route.path, status, body, route.status, route.shows)
		}
		for _, word := range hidden {
			if strings.Contains(strings.ReplaceAll(string(body), route.path, ""), word) && !strings.HasPrefix(route.path, "/v1/export") {
				t.Errorf("%s %s: shows %q: %.300s", route.method, route.path, word, body)
			}
		}
	}
}

func TestWhatPeopleSeeAndDoIsOnTheRecord(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runSession(t, "first000", "SELECT 1")
	s.awaitSession("first000")
	token := s.token("ada", "responders")
	s.call(token, http.MethodGet, "/v1/sessions/first000/records", "")
	s.call(token, http.MethodGet, "/v1/search?q=needle", "")
	s.call(token, http.MethodGet, "/v1/export?session=first000", "")
	want := map[string]bool{"session.read first000": true, "search needle": true, "export first000": true}
	files := s.bundle("since=1970-01-01T00:00:00Z")
	for b, err := range translog.ReadBundle(files) {
		check(t, err)
		for _, e := range b.Entries {
			text := string(e.Header) + string(e.Body)
			for act := range want {
				kind, about, _ := strings.Cut(act, " ")
				if strings.Contains(text, "person.acted") && strings.Contains(text, kind) && strings.Contains(text, about) && strings.Contains(text, `ada`) {
					delete(want, act)
				}
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not on the record: %v", want)
	}
	report := s.verify(files)
	if rest := ofLiveChain(report); len(rest) > 0 {
		t.Error(rest)
	}
	s.stop()
	s.start() // the next epoch follows the one that was sealed
	await(t, "the chain goes on", func() bool {
		return len(ofLiveChain(s.verify(s.bundle("since=1970-01-01T00:00:00Z")))) == 0
	})
	altered := s.bundle("since=1970-01-01T00:00:00Z")
	for name, file := range altered {
		if strings.HasPrefix(name, "records/") {
			file.Data = []byte(strings.Replace(string(file.Data), `"act":"export`, `"act":"nothin`, 1))
		}
	}
	codes := map[string]bool{}
	for _, f := range s.verify(altered).Findings {
		codes[string(f.Code)] = true
	}
	if !codes[string(translog.RecordAltered)] {
		t.Errorf("an altered act is not named: %v", codes)
	}
}
