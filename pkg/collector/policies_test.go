package collector_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

// withPublisher makes ada an admin and a publisher.
func withPublisher(s *site) {
	s.roster.Publishers = []string{"dba"}
	s.roster.Version++
	s.publishRoster()
}

func (s *site) publication(text string, change func(*approval.Publication)) []byte {
	s.t.Helper()
	what := approval.Publication{Cluster: "test", Sequence: approval.SequenceAt(time.Now()), Agents: []string{"node-*"}, By: "ada", Reason: "stricter"}
	change(&what)
	published, err := approval.Publish(what, []byte(text), s.ada)
	check(s.t, err)
	encoded, err := json.Marshal(published)
	check(s.t, err)
	return encoded
}

func same(*approval.Publication) {}

// newAdminSite is a site whose ada, in "admins", is an admin, and who is one in
// the console with her other groups.
func newAdminSite(t *testing.T) (*site, string) {
	s := newSite(t)
	s.stop()
	s.cfg.People.Roles = append(s.cfg.People.Roles, collector.GroupRoles{Group: "admins", Roles: []api.Role{api.Admin}},
		collector.GroupRoles{Group: "responders", Roles: []api.Role{api.Admin}})
	s.start()
	withPublisher(s)
	return s, s.token("ada", "admins")
}

func TestPublishedPolicyReachesAgentsAtOnceAndThoseThatWereAwayWhenTheyAsk(t *testing.T) {
	s, token := newAdminSite(t)
	a := s.agent()
	got := make(chan []byte, 4)
	check(t, a.bus.OnPolicy(func(published []byte) { got <- published }))
	a.runSession(t, "s1", "SELECT 1")
	s.awaitSession("s1") // the agent is connected
	first := s.publication(stricter, same)
	status, answer := s.call(token, http.MethodPost, "/v1/policies", string(first))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	select {
	case published := <-got:
		if what, _, err := approval.OpenPublished(published, &s.roster, "test", time.Now()); err != nil || what.SHA256 != approval.PolicyHash([]byte(stricter)) {
			t.Errorf("the agent got %+v, %v", what, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the agent got nothing")
	}
	request, err := json.Marshal(translog.SyncRequest{})
	check(t, err)
	s.stop()
	s.start() // it is kept
	var have approval.Publication
	await(t, "an agent that asks gets it", func() bool {
		reply, err := a.bus.SyncFrom(t.Context(), request, 0)
		if err == nil {
			have, _, err = approval.OpenPublished(reply.Policy, &s.roster, "test", time.Now())
		}
		return err == nil
	})
	if reply, err := a.bus.SyncFrom(t.Context(), request, have.Sequence); err != nil || len(reply.Policy) > 4 {
		t.Errorf("an agent that has it gets %d bytes, %v", len(reply.Policy), err)
	}
	others := s.publication(stricter+"# for others\n", func(p *approval.Publication) { p.Agents = []string{"deploy-*"} })
	if status, answer := s.call(token, http.MethodPost, "/v1/policies", string(others)); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	reply, err := a.bus.SyncFrom(t.Context(), request, 0)
	check(t, err)
	if mine, _, err := approval.OpenPublished(reply.Policy, &s.roster, "test", time.Now()); err != nil || mine.Sequence != have.Sequence {
		t.Errorf("what is for others hides what is for this agent: %+v, %v", mine, err)
	}
	listed := get[[]view.Publication](s, "/v1/policies")
	if len(listed) != 2 || listed[1].Sequence != have.Sequence || listed[1].By != "ada" || listed[0].Agents[0] != "deploy-*" {
		t.Errorf("listed %+v", listed)
	}
	if !strings.Contains(s.acts(), "policy.publish") {
		t.Error("it is not on the record")
	}
}

func TestPolicyThatMustNotBePublished(t *testing.T) {
	s, token := newAdminSite(t)
	newest := s.publication(stricter, same)
	if status, answer := s.call(token, http.MethodPost, "/v1/policies", string(newest)); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	good := s.publication(stricter, same)
	for name, test := range map[string]struct {
		token   string
		encoded []byte
		status  int
	}{
		"an approver":            {s.token("ada", "dba"), good, http.StatusForbidden},
		"an admin with limits":   {s.token("ada", "team-a"), good, http.StatusForbidden},
		"another admin":          {s.token("bob", "admins"), good, http.StatusForbidden},
		"not a policy":           {token, s.publication("rules: 7\n", same), http.StatusUnprocessableEntity},
		"another cluster":        {token, s.publication(stricter, func(p *approval.Publication) { p.Cluster = "prod" }), http.StatusUnprocessableEntity},
		"played back":            {token, newest, http.StatusConflict},
		"older":                  {token, s.publication(stricter, func(p *approval.Publication) { p.Sequence -= 60_000 }), http.StatusConflict},
		"another text":           {token, []byte(strings.Replace(string(good), `"text":"`, `"text":"IyB4`, 1)), http.StatusUnprocessableEntity},
		"larger than can travel": {token, []byte(strings.Repeat("x", 1<<20)), http.StatusRequestEntityTooLarge},
	} {
		if status, answer := s.call(test.token, http.MethodPost, "/v1/policies", string(test.encoded)); status != test.status {
			t.Errorf("%s: %d %s, want %d", name, status, answer, test.status)
		}
	}
	if listed := get[[]view.Publication](s, "/v1/policies"); len(listed) != 1 {
		t.Errorf("listed %+v", listed)
	}
}
