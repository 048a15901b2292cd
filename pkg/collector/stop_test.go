package collector_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// withOrders lets the console's key stop as well, in the name of tom too.
func (s *site) withOrders() {
	s.t.Helper()
	s.roster.ConsoleOrders = true
	s.roster.Approvers = append(s.roster.Approvers, approval.Approver{
		Name: "tom", Groups: []string{"shop"}, Accounts: []approval.Account{{Issuer: s.issuer.URL(), Subject: "tom"}},
	})
	s.withConsole()
}

// digging is a session that does not end by itself, beside one of another team;
// the agent of the site hears of orders.
func (s *site) digging() (a *agent, id, container string) {
	s.t.Helper()
	container = strings.Repeat("d16", 20)
	open, opened := shop(time.Now(), container)
	_, wiki := shop(time.Now(), "e26")
	wiki.Header.Opened.Workload.Verified["repository"] = "acme/wiki"
	s.node2().add(s.t, opened, wiki)
	a = s.agent()
	a.runSession(s.t, "first000", "SELECT 1")
	s.awaitSession("first000") // the agent is connected
	s.awaitStored(open.ID)
	return a, open.ID, container
}

// awaitStored waits for a session, whether it has ended or not.
func (s *site) awaitStored(id string) {
	s.t.Helper()
	await(s.t, "the session is stored", func() bool {
		status, _ := s.call(s.bootstrap, http.MethodGet, "/v1/sessions/"+id, "")
		return status == http.StatusOK
	})
}

// nextOrder waits for an order and believes it as an agent does.
func (a *agent) nextOrder(s *site) approval.Order {
	s.t.Helper()
	select {
	case signed := <-a.orders:
		o, err := approval.OpenOrder(signed, &s.roster, time.Now())
		check(s.t, err)
		return o
	case <-time.After(10 * time.Second):
		s.t.Fatal("the agent got no order")
	}
	return approval.Order{}
}

func TestResponderStopsInTheConsoleAndAgentsBelieveIt(t *testing.T) {
	s := newSite(t)
	s.withOrders()
	a, id, container := s.digging()
	ada := s.browser("ada")
	ada.login("")
	for about, want := range map[string]approval.Order{
		"session=" + id:               {Kind: approval.Kill, Session: id},
		"run=verified:acme/shop/4711": {Kind: approval.Quarantine, Run: "acme/shop/4711"},
		"container=" + container:      {Kind: approval.Quarantine, Container: container},
	} {
		path := "/stop?" + about
		status, page, _ := ada.get(path)
		if status != http.StatusOK || !strings.Contains(page, "?</h1>") {
			t.Fatalf("%s: %d %.300s", about, status, page)
		}
		form := url.Values{"token": {ada.formToken(path)}, "reason": {"it digs"}, "lasts": {"1h"}}
		begun := time.Now()
		if status, page, _ := ada.post(path, form); status != http.StatusOK {
			t.Fatalf("%s: %d %.400s", about, status, page)
		}
		got := a.nextOrder(s)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s reached the agent after %v", about, took)
		}
		if got.Kind != want.Kind || got.Session != want.Session || got.Run != want.Run || got.Container != want.Container || got.By != "ada" || got.Reason != "it digs" || got.Login == nil {
			t.Errorf("%s: the agent got %+v", about, got)
		}
	}
	if listed := get[[]view.Order](s, "/v1/orders"); len(listed) != 3 {
		t.Errorf("%d orders are listed", len(listed))
	}
	if _, page, _ := ada.get("/sessions/" + id); strings.Count(page, "<q>it digs</q>") != 3 {
		t.Errorf("the session's page does not show the orders: %.600s", page)
	}
	acts := s.acts()
	for _, act := range []string{"order.kill", "order.quarantine"} {
		if !strings.Contains(acts, act) {
			t.Errorf("%s is not on the record", act)
		}
	}
}

// acts is the collector's own chain, as text.
func (s *site) acts() string {
	var all strings.Builder
	for name, file := range s.bundle("since=1970-01-01T00:00:00Z") {
		if strings.HasPrefix(name, "records/") {
			all.Write(file.Data)
		}
	}
	return all.String()
}

func TestStopInTheConsoleThatMustNotHappen(t *testing.T) {
	s := newSite(t)
	s.withOrders()
	a, id, container := s.digging()
	person := func(name string) *browser {
		b := s.browser(name)
		b.login("")
		return b
	}
	ada, tom, eve := person("ada"), person("tom"), person("eve")
	kill := "/stop?session=" + id
	form := func(token string) url.Values {
		return url.Values{"token": {token}, "reason": {"x"}, "lasts": {"1h"}}
	}
	const without = "/sessions"
	for name, test := range map[string]struct {
		by     *browser
		path   string
		form   url.Values
		status int
	}{
		"a stranger":                  {s.browser("ada"), kill, form(""), http.StatusUnauthorized},
		"a forged form":               {ada, kill, form("forged"), http.StatusForbidden},
		"an approver, no responder":   {eve, kill, form(eve.formToken("/approvals")), http.StatusForbidden},
		"nothing named":               {ada, "/stop", form(ada.formToken(without)), http.StatusNotFound},
		"a session that is not there": {ada, "/stop?session=nothing0", form(ada.formToken(without)), http.StatusNotFound},
		"one that has ended":          {ada, "/stop?session=first000", form(ada.formToken(without)), http.StatusConflict},
		"another team's":              {tom, "/stop?session=first000", form(tom.formToken(without)), http.StatusNotFound},
		"another team's run":          {tom, "/stop?run=verified:acme/wiki/1", form(tom.formToken(without)), http.StatusNotFound},
		"a run that is only claimed":  {tom, "/stop?run=claimed:acme/shop/4711", form(tom.formToken(without)), http.StatusNotFound},
		"anybody's container":         {tom, "/stop?container=" + container, form(tom.formToken(without)), http.StatusForbidden},
		"a short container":           {ada, "/stop?container=d16", form(ada.formToken(without)), http.StatusUnprocessableEntity},
		"for ever":                    {ada, "/stop?container=" + container, url.Values{"token": {ada.formToken(without)}, "lasts": {"9000h"}}, http.StatusUnprocessableEntity},
		"for no time":                 {ada, "/stop?container=" + container, url.Values{"token": {ada.formToken(without)}}, http.StatusBadRequest},
	} {
		if status, page, _ := test.by.post(test.path, test.form); status != test.status {
			t.Errorf("%s: %d %.300s, want %d", name, status, page, test.status)
		}
	}
	s.provider.Backdate.Store(int64(time.Hour))
	old := person("ada")
	if _, page, _ := old.post(kill, form(old.formToken(without))); !strings.Contains(page, "Log in again") {
		t.Errorf("an old login: %.300s", page)
	}
	s.provider.Backdate.Store(0)
	s.roster.ConsoleOrders = false
	s.roster.Version++
	s.publishRoster()
	if _, page, _ := ada.get(kill); !strings.Contains(page, "sluice kill "+id) || strings.Contains(page, `action="/stop`) {
		t.Errorf("a roster that lets no console order: %.900s", page)
	}
	if status, _, _ := ada.post(kill, form(ada.formToken(without))); status != http.StatusUnprocessableEntity {
		t.Errorf("it is ordered all the same: %d", status)
	}
	if listed := get[[]view.Order](s, "/v1/orders"); len(listed) != 0 || len(a.orders) != 0 {
		t.Errorf("%d orders were given, %d reached the agent", len(listed), len(a.orders))
	}
	s.roster.ConsoleOrders = true
	s.roster.Version++
	s.publishRoster()
	if status, page, _ := tom.post(kill, form(tom.formToken(kill))); status != http.StatusOK || a.nextOrder(s).By != "tom" {
		t.Errorf("tom, whose team's it is: %d %.300s", status, page)
	}
}

// ordered is the id of the quarantine of a run that a person orders in the
// console.
func (b *browser) ordered(run string) string {
	b.t.Helper()
	path := "/stop?run=" + url.QueryEscape("verified:"+run)
	if status, page, _ := b.post(path, url.Values{"token": {b.formToken(path)}, "reason": {"it digs"}, "lasts": {"1h"}}); status != http.StatusOK {
		b.t.Fatalf("quarantine %s: %d %.300s", run, status, page)
	}
	all := get[[]view.Order](b.site, "/v1/orders")
	return all[len(all)-1].ID
}

func TestResponderLiftsInTheConsoleWhatWasOrderedThere(t *testing.T) {
	s := newSite(t)
	s.withOrders()
	a, session, _ := s.digging()
	ada := s.browser("ada")
	ada.login("")
	id := ada.ordered("acme/shop/4711")
	a.nextOrder(s)
	path := "/stop?lift=" + id
	for _, page := range []string{"/agents", "/sessions/" + session, "/run?run=verified:acme/shop/4711"} {
		if _, body, _ := ada.get(page); !strings.Contains(body, path) {
			t.Errorf("%s does not offer to lift it: %.900s", page, body)
		}
	}
	if status, page, _ := ada.post(path, url.Values{"token": {ada.formToken(path)}, "reason": {"it was me"}}); status != http.StatusOK {
		t.Fatalf("%d %.400s", status, page)
	}
	if o := a.nextOrder(s); o.Kind != approval.Release || !o.TakesBack(id, true) || o.By != "ada" || o.Reason != "it was me" || o.Login == nil {
		t.Errorf("the agent got %+v", o)
	}
	if all := get[[]view.Order](s, "/v1/orders"); len(all) != 2 || all[0].LiftedBy != "ada" {
		t.Errorf("listed %+v", all)
	}
	if _, page, _ := ada.get("/sessions/" + session); !strings.Contains(page, "lifted by ada") || strings.Contains(page, path) {
		t.Errorf("the session's page does not show it: %.900s", page)
	}
	if status, _, _ := ada.get(path); status != http.StatusNotFound {
		t.Errorf("it can be lifted twice: %d", status)
	}
	if !strings.Contains(s.acts(), "order.release") {
		t.Error("it is not on the record")
	}
}

func TestLiftInTheConsoleThatMustNotHappen(t *testing.T) {
	s := newSite(t)
	s.withOrders()
	s.digging()
	ada, tom, eve := s.browser("ada"), s.browser("tom"), s.browser("eve")
	for _, b := range []*browser{ada, tom, eve} {
		b.login("")
	}
	ours, theirs := ada.ordered("acme/shop/4711"), ada.ordered("acme/wiki/4711")
	status, answer := s.call(s.token("ada", "dba"), http.MethodPost, "/v1/orders", string(s.order(s.ada)))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	all := get[[]view.Order](s, "/v1/orders")
	own := all[len(all)-1].ID
	form := func(b *browser) url.Values { return url.Values{"token": {b.formToken("/sessions")}, "reason": {"x"}} }
	for name, test := range map[string]struct {
		by     *browser
		path   string
		form   url.Values
		status int
	}{
		"a stranger":                {s.browser("ada"), "/stop?lift=" + ours, url.Values{}, http.StatusUnauthorized},
		"a forged form":             {ada, "/stop?lift=" + ours, url.Values{"token": {"forged"}}, http.StatusForbidden},
		"an approver, no responder": {eve, "/stop?lift=" + ours, url.Values{"token": {eve.formToken("/approvals")}}, http.StatusForbidden},
		"what is not there":         {ada, "/stop?lift=" + approval.NewID(), form(ada), http.StatusNotFound},
		"another team's":            {tom, "/stop?lift=" + theirs, form(tom), http.StatusNotFound},
		"a person's own key":        {ada, "/stop?lift=" + own, form(ada), http.StatusUnprocessableEntity},
	} {
		if status, page, _ := test.by.post(test.path, test.form); status != test.status {
			t.Errorf("%s: %d %.300s, want %d", name, status, page, test.status)
		}
	}
	if _, page, _ := ada.get("/stop?lift=" + own); !strings.Contains(page, "sluice quarantine --lift "+own) || strings.Contains(page, `action="/stop`) {
		t.Errorf("the page of one by a person's own key: %.900s", page)
	}
	s.provider.Backdate.Store(int64(time.Hour))
	old := s.browser("ada")
	old.login("")
	if _, page, _ := old.post("/stop?lift="+ours, form(old)); !strings.Contains(page, "Log in again") {
		t.Errorf("an old login: %.300s", page)
	}
	s.provider.Backdate.Store(0)
	for _, o := range get[[]view.Order](s, "/v1/orders") {
		if o.LiftedBy != "" || o.Kind == string(approval.Release) {
			t.Errorf("it was lifted: %+v", o)
		}
	}
	if status, page, _ := tom.post("/stop?lift="+ours, form(tom)); status != http.StatusOK {
		t.Errorf("tom, whose team's it is: %d %.300s", status, page)
	}
}

func TestStopInChromium(t *testing.T) {
	s := newSite(t)
	s.withOrders()
	a, id, _ := s.digging()
	c := s.chromium()
	c.open("/sessions/"+id, "light")
	c.run(chromedp.Click(chromedp.CSS(`a[href^="/stop?session="]`)), visible(`form[action^="/stop"]`))
	c.shot("stop")
	c.run(c.size(390, 844))
	if over := eval[int](c, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
		t.Errorf("it is %d pixels too wide for a phone", over)
	}
	c.shot("stop-390")
	c.run(c.size(1280, 900), chromedp.SendKeys(chromedp.CSS("#why"), "it digs"), chromedp.Click(chromedp.CSS(`button[name="sure"]`)), visible(".state.kill"))
	c.shot("stopped")
	if o := a.nextOrder(s); o.Session != id || o.Kind != approval.Kill {
		t.Errorf("the agent got %+v", o)
	}
	c.run(chromedp.Click(chromedp.CSS(`a[href^="/stop?run="]`)), visible(`form[action^="/stop"]`))
	c.run(chromedp.SendKeys(chromedp.CSS("#why"), "all of them dig"), chromedp.Click(chromedp.CSS(`button[name="sure"]`)), visible(".state.quarantine"))
	if o := a.nextOrder(s); o.Run != "acme/shop/4711" {
		t.Errorf("the agent got %+v", o)
	}
	axe, err := os.ReadFile("testdata/axe.min.js")
	check(t, err)
	look := func(name string) {
		t.Helper()
		c.inspect(name, string(axe), false)
		c.shot(name)
		c.run(c.size(390, 844))
		if over := eval[int](c, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
			t.Errorf("%s is %d pixels too wide for a phone", name, over)
		}
		c.shot(name + "-390")
		c.run(c.size(1280, 900))
	}
	look("quarantined")
	c.open("/agents", "dark")
	look("agents-orders")
	c.run(chromedp.Click(chromedp.CSS(`a[href^="/stop?lift="]`)), visible(`form[action^="/stop"]`))
	look("lift")
	c.run(chromedp.SendKeys(chromedp.CSS("#why"), "it was a false alarm"), chromedp.Click(chromedp.CSS(`button[name="sure"]`)), visible(".state.release"))
	look("lifted")
	if o := a.nextOrder(s); o.Kind != approval.Release || o.Reason != "it was a false alarm" {
		t.Errorf("the agent got %+v", o)
	}
}
