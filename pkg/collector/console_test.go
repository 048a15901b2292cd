package collector_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// browser is a person with a browser: it keeps cookies, follows redirects, and
// answers the issuer's page with their name.
type browser struct {
	*site
	name   string
	client *http.Client
}

func (s *site) browser(name string) *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	check(s.t, err)
	return &browser{s, name, &http.Client{Jar: jar}}
}

func (b *browser) do(r *http.Request) (status int, body string, at *url.URL) {
	b.t.Helper()
	answer, err := b.client.Do(r)
	check(b.t, err)
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	check(b.t, err)
	return answer.StatusCode, string(raw), answer.Request.URL
}

func (b *browser) get(path string) (int, string, *url.URL) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.console()+path, nil)
	check(b.t, err)
	return b.do(r)
}

// post sends a form as a page of the console would.
func (b *browser) post(path string, form url.Values) (int, string, *url.URL) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.console()+path, strings.NewReader(form.Encode()))
	check(b.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r)
}

// login goes to the issuer and comes back; fresh as before a vote.
func (b *browser) login(query string) (int, string) {
	b.t.Helper()
	_, _, at := b.get("/login" + query)
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, at.String(),
		strings.NewReader(url.Values{"id": {at.Query().Get("authRequestID")}, "name": {b.name}}.Encode()))
	check(b.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, _ := b.do(r)
	return status, body
}

var formToken = regexp.MustCompile(`name="token" value="([0-9a-f]+)"`)

// token reads the token that forms of a page carry.
func (b *browser) formToken(path string) string {
	b.t.Helper()
	_, body, _ := b.get(path)
	found := formToken.FindStringSubmatch(body)
	if found == nil {
		b.t.Fatalf("%s has no form: %.500s", path, body)
	}
	return found[1]
}

func (b *browser) cookie() *http.Cookie {
	b.t.Helper()
	here, err := url.Parse(b.console())
	check(b.t, err)
	for _, cookie := range b.client.Jar.Cookies(here) {
		if cookie.Name == "sluice" {
			return cookie
		}
	}
	return nil
}

func TestPeopleLogInAndOut(t *testing.T) {
	s := newSite(t)
	ada := s.browser("ada")
	if status, body, _ := ada.get("/sessions"); status != http.StatusUnauthorized || !strings.Contains(body, "Log in") {
		t.Errorf("a stranger: %d", status)
	}
	if status, body := ada.login("?next=/sessions"); status != http.StatusOK || !strings.Contains(body, "Sessions") {
		t.Fatalf("login: %d %.300s", status, body)
	}
	first := ada.cookie().Value
	ada.login("?fresh=1")
	if second := ada.cookie().Value; second == first {
		t.Error("a login keeps the cookie that was there before")
	}
	old := s.browser("ada")
	here, err := url.Parse(s.console())
	check(t, err)
	old.client.Jar.SetCookies(here, []*http.Cookie{{Name: "sluice", Value: first, Path: "/"}})
	if status, _, _ := old.get("/sessions"); status != http.StatusUnauthorized {
		t.Errorf("the cookie before the login: %d", status)
	}
	token := ada.formToken("/sessions")
	stolen := ada.cookie()
	ada.post("/logout", url.Values{"token": {token}})
	old.client.Jar.SetCookies(here, []*http.Cookie{stolen})
	if status, _, _ := old.get("/sessions"); status != http.StatusUnauthorized {
		t.Errorf("a cookie after logout: %d", status)
	}
	if status, body := s.browser("nobody").login(""); status != http.StatusForbidden || !strings.Contains(body, "no role") {
		t.Errorf("somebody without a role: %d", status)
	}
}

func TestNobodyIsSentElsewhereAfterLogin(t *testing.T) {
	s := newSite(t)
	for _, next := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:alert(1)", "/%5Cevil.example", "\t//evil.example"} {
		ada := s.browser("ada")
		ada.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if strings.Contains(r.URL.Host, "evil") {
				t.Errorf("%q leads to %s", next, r.URL)
			}
			return nil
		}
		ada.login("?next=" + url.QueryEscape(next))
		if ada.cookie() == nil {
			t.Errorf("%q: nobody is logged in", next)
		}
	}
}

func TestPagesComeWithAPolicyAgainstScript(t *testing.T) {
	s := newSite(t)
	answer, err := http.Get(s.console() + "/")
	check(t, err)
	answer.Body.Close()
	policy := answer.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %q", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe-inline") || strings.Contains(policy, "'unsafe-eval'") {
		t.Errorf("inline script is allowed: %q", policy)
	}
}

// held is one approval that the agent asks for, and a browser whose person is
// logged in.
func (s *site) held(a *agent, name string, change func(*approval.Request)) (*browser, uint64) {
	s.t.Helper()
	number, _ := a.ask(s.t, "shop-db", "acme/shop", change)
	b := s.browser(name)
	if status, body := b.login(""); status != http.StatusOK {
		s.t.Fatalf("%s: %d %.300s", name, status, body)
	}
	return b, number
}

func (b *browser) vote(number uint64, decision, token string) (int, string) {
	b.t.Helper()
	status, body, at := b.post(fmt.Sprintf("/approvals/%d/vote", number), url.Values{"token": {token}, "decision": {decision}, "reason": {"seen"}})
	return status, at.RequestURI() + body
}

func (s *site) state(number uint64) string {
	s.t.Helper()
	return get[view.Approval](s, fmt.Sprintf("/v1/approvals/%d", number)).State
}

func nothing(*approval.Request) {}

// nextVote waits for a vote among what the collector tells.
func (a *agent) nextVote() approval.Update {
	for u := range a.updates {
		if len(u.Vote) > 0 {
			return u
		}
	}
	return approval.Update{}
}

func TestApproverDecidesInTheConsoleAndTheAgentBelievesIt(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	ada, number := s.held(a, "ada", nothing)
	if status, body := ada.vote(number, "approve", ada.formToken("/approvals")); status != http.StatusOK {
		t.Fatalf("vote: %d %.400s", status, body)
	}
	update := a.nextVote()
	asked := get[view.Approval](s, fmt.Sprintf("/v1/approvals/%d", number))
	vote, err := approval.Check(asked.Request, update.Vote, a.public(), &s.roster, time.Now())
	if err != nil || vote.Approver != "ada" || vote.Decision != approval.Approve || vote.Reason != "seen" || vote.Login == nil {
		t.Errorf("what the agent gets: %+v, %v", vote, err)
	}
	if asked.State != "approved" {
		t.Errorf("state %s", asked.State)
	}
	if status, _ := ada.vote(number, "deny", ada.formToken("/approvals?state=all")); status != http.StatusConflict {
		t.Errorf("a vote after the decision: %d", status)
	}
}

func TestVoteInTheConsoleThatMustNotCount(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	ada, number := s.held(a, "ada", nothing)
	token := ada.formToken("/approvals")

	if status, _ := ada.vote(number, "approve", "forged"); status != http.StatusForbidden {
		t.Errorf("a forged form: %d", status)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("%s/approvals/%d/vote", s.console(), number),
		strings.NewReader(url.Values{"token": {token}, "decision": {"approve"}}.Encode()))
	check(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, _, _ := ada.do(r); status != http.StatusForbidden {
		t.Errorf("from another site: %d", status)
	}
	if status, _ := ada.vote(number, "maybe", token); status != http.StatusUnprocessableEntity {
		t.Errorf("neither yes nor no: %d", status)
	}
	eve, _ := s.held(a, "eve", nothing)
	if status, _ := eve.vote(number, "approve", eve.formToken("/approvals")); status != http.StatusForbidden {
		t.Errorf("eve, who is not in the roster: %d", status)
	}
	own, byKey := s.held(a, "ada", func(r *approval.Request) { r.Required.OwnKey = true })
	if status, body := own.vote(byKey, "approve", own.formToken("/approvals")); status != http.StatusUnprocessableEntity || !strings.Contains(body, "own key") {
		t.Errorf("a rule that wants the own key: %d %.300s", status, body)
	}
	self, mine := s.held(a, "ada", func(r *approval.Request) {
		r.FourEyes, r.Trigger = approval.Enforced, &approval.Account{Issuer: s.issuer.URL(), Subject: "ada"}
	})
	if status, body := self.vote(mine, "approve", self.formToken("/approvals")); status != http.StatusUnprocessableEntity || !strings.Contains(body, "somebody else") {
		t.Errorf("her own job: %d %.300s", status, body)
	}
	for _, n := range []uint64{number, byKey, mine} {
		if state := s.state(n); state != "pending" {
			t.Errorf("#%d is %s", n, state)
		}
	}
}

func TestStolenSessionCannotVote(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	// The issuer remembers ada from an hour ago and does not ask again, whatever
	// it is told: so it is for whoever took over her session.
	s.provider.Backdate.Store(int64(time.Hour))
	ada, number := s.held(a, "ada", nothing)
	token := ada.formToken("/approvals")
	status, body := ada.vote(number, "approve", token)
	if status != http.StatusOK || !strings.Contains(body, "Log in again") || s.state(number) != "pending" {
		t.Errorf("a vote by an old login: %d, %s", status, s.state(number))
	}
	ada.login("?fresh=1")
	ada.vote(number, "approve", ada.formToken("/approvals"))
	if s.state(number) != "pending" {
		t.Error("an issuer that did not ask again is believed")
	}
	stolen := s.browser("eve")
	here, err := url.Parse(s.console())
	check(t, err)
	stolen.client.Jar.SetCookies(here, []*http.Cookie{ada.cookie()})
	s.provider.Backdate.Store(0)
	ada.login("?fresh=1")
	if status, _, _ := stolen.get("/approvals"); status != http.StatusUnauthorized {
		t.Errorf("the stolen cookie outlives the fresh login: %d", status)
	}
	if status, body := ada.vote(number, "approve", ada.formToken("/approvals")); s.state(number) != "approved" {
		t.Errorf("after a fresh login: %d %.300s", status, body)
	}
}

func TestCollectorRestartedBetweenRequestAndVote(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	var id string
	number, signed := a.ask(t, "shop-db", "acme/shop", func(r *approval.Request) { id = r.ID })
	ada := s.browser("ada")
	ada.login("")
	token := ada.formToken("/approvals")
	s.stop()
	s.start()
	if status, body := ada.vote(number, "deny", token); status != http.StatusOK {
		t.Fatalf("after the restart: %d %.300s", status, body)
	}
	// An agent asks again until it knows.
	await(t, "the bus takes the request again", func() bool { return a.bus.PublishApprovalRequest(t.Context(), id, signed) == nil })
	if vote, err := approval.Check(signed, a.nextVote().Vote, a.public(), &s.roster, time.Now()); err != nil || vote.Decision != approval.Deny {
		t.Errorf("what the agent learns: %+v, %v", vote, err)
	}
}

func TestStaleRosterVotesForNobody(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	ada, number := s.held(a, "ada", nothing)
	s.roster.Version--
	s.publishRoster() // an older one comes back
	if status, _ := ada.vote(number, "approve", ada.formToken("/sessions")); status == http.StatusOK || s.state(number) != "pending" {
		t.Errorf("by a roster that was rolled back: %d, %s", status, s.state(number))
	}
}

func TestConsoleVoteReachesAsFarAsTheRuleOffersAndNoFurther(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	ada, number := s.held(a, "ada", func(r *approval.Request) { r.Scope = approval.SessionScope })
	path := fmt.Sprintf("/approvals/%d", number)
	if _, page, _ := ada.get(path); !strings.Contains(page, `<option value="session">`) {
		t.Errorf("the page does not offer the scope: %.900s", page)
	}
	form := func(scope, lasts string) url.Values {
		return url.Values{"token": {ada.formToken("/approvals")}, "decision": {"approve"}, "scope": {scope}, "lasts": {lasts}}
	}
	for name, test := range map[string]struct {
		scope, lasts string
		status       int
	}{
		"wider than offered": {"shape", "1h", http.StatusUnprocessableEntity},
		"no scope":           {"everything", "1h", http.StatusUnprocessableEntity},
		"too long":           {"session", "13h", http.StatusBadRequest},
		"no time":            {"session", "", http.StatusBadRequest},
		"before now":         {"session", "-1h", http.StatusUnprocessableEntity},
	} {
		if status, page, _ := ada.post(path+"/vote", form(test.scope, test.lasts)); status != test.status {
			t.Errorf("%s: %d %.300s", name, status, page)
		}
	}
	if status, page, _ := ada.post(path+"/vote", form("session", "15m")); status != http.StatusOK {
		t.Fatalf("%d %.300s", status, page)
	}
	asked := get[view.Approval](s, "/v1"+path)
	vote, err := approval.Check(asked.Request, a.nextVote().Vote, a.public(), &s.roster, time.Now())
	if err != nil || vote.Scope != approval.SessionScope || vote.Expires.Sub(vote.At) != 15*time.Minute {
		t.Errorf("the agent gets %+v, %v", vote, err)
	}
	plain, once := s.held(a, "ada", nothing)
	if _, page, _ := plain.get(fmt.Sprintf("/approvals/%d", once)); strings.Contains(page, `name="scope"`) {
		t.Error("a rule that offers no scope has one on its page")
	}
}
