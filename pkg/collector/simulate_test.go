package collector_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
)

// stricter denies what the history has allowed.
const stricter = `version: 1
resources:
  - name: shop-db
    protocol: postgres
    hosts: [pg.lab]
    port: 5432
    credentials: [{user: app, password_file: secrets/shop-db}]
rules:
  - name: verified-jobs-only-read
    when: has(verified.repository) && op.kind == "statement"
    effect: deny
default: allow
`

// upload sends the form of the policy page as a browser does.
func (b *browser) upload(fields map[string]string, file string) (int, string) {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range fields {
		check(b.t, form.WriteField(name, value))
	}
	if file != "" {
		part, err := form.CreateFormFile("file", "policy.yaml")
		check(b.t, err)
		_, err = part.Write([]byte(file))
		check(b.t, err)
	}
	check(b.t, form.Close())
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.console()+"/policy", &body)
	check(b.t, err)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	status, page, _ := b.do(r)
	return status, page
}

// history is what two teams did: three statements, one for team A.
func (s *site) history() *agent {
	s.t.Helper()
	a := s.agent()
	a.runFor(s.t, "ours0000", "shop-db", "acme/shop", "SELECT 1")
	a.runFor(s.t, "theirs00", "shop-db", "acme/wiki", "SELECT 1", "SELECT 2")
	s.awaitSession("ours0000")
	s.awaitSession("theirs00")
	return a
}

func TestPolicyIsSimulatedOverWhatTheVisitorMayRead(t *testing.T) {
	s := newSite(t)
	s.history()
	for name, test := range map[string]struct {
		asked  string
		hidden string
	}{
		"ada": {"3 operations of 2 sessions", "nothing is hidden from her"},
		"tom": {"1 operation of 1 session asked", "wiki"},
	} {
		b := s.browser(name)
		b.login("")
		token := b.formToken("/policy")
		for how, send := range map[string]func() (int, string){
			"pasted": func() (int, string) {
				return b.upload(map[string]string{"token": token, "since": "1h", "policy": stricter}, "")
			},
			"uploaded": func() (int, string) { return b.upload(map[string]string{"token": token, "since": "1h"}, stricter) },
		} {
			status, page := send()
			if status != http.StatusOK || !strings.Contains(page, test.asked) || !strings.Contains(page, "verified-jobs-only-read</td>") || strings.Contains(page, test.hidden) {
				t.Errorf("%s, %s: %d %s", name, how, status, page[strings.Index(page, "<main"):])
			}
		}
	}
	if !strings.Contains(s.acts(), "policy.simulate") {
		t.Error("that ada and tom read so much is not on the record")
	}
}

func TestSimulationThatCannotBe(t *testing.T) {
	s := newSite(t)
	ada, eve := s.browser("ada"), s.browser("eve")
	ada.login("")
	eve.login("")
	token := ada.formToken("/policy")
	for name, test := range map[string]struct {
		by     *browser
		fields map[string]string
		status int
		shows  string
	}{
		"no policy":       {ada, map[string]string{"token": token, "since": "1h", "policy": "default: maybe\nrules: [{when: 'op.x'}]"}, 200, "policy.yaml:2:9: rules[0]"},
		"script in one":   {ada, map[string]string{"token": token, "since": "1h", "policy": hostile}, 200, "cannot be used"},
		"no time":         {ada, map[string]string{"token": token, "since": "soon", "policy": stricter}, 400, "time to look back"},
		"too large":       {ada, map[string]string{"token": token, "since": "1h", "policy": strings.Repeat("#\n", 200<<10)}, 413, "256 KiB"},
		"far too large":   {ada, map[string]string{"token": token, "since": "1h", "policy": strings.Repeat("#\n", 2<<20)}, 403, ""},
		"a forged form":   {ada, map[string]string{"token": "forged", "since": "1h", "policy": stricter}, 403, "too old"},
		"not a responder": {eve, map[string]string{"token": eve.formToken("/policy"), "since": "1h", "policy": stricter}, 403, "do not cover"},
	} {
		status, page := test.by.upload(test.fields, "")
		if status != test.status || !strings.Contains(page, test.shows) || strings.Contains(page, "<script>pwned") {
			t.Errorf("%s: %d %.900s", name, status, page)
		}
	}
	if _, page, _ := eve.get("/policy"); strings.Contains(page, "textarea") {
		t.Error("somebody who may not read is offered a simulation")
	}
}

func TestSimulationIsBounded(t *testing.T) {
	s := newSite(t)
	n := s.node2()
	for range 21 {
		var records []collectortest.Record
		for range 100 {
			session, opened := shop(time.Now(), "c0ffee")
			records = append(records, opened)
			records = append(records, session.Query("SELECT 1", "n", "1")...)
		}
		n.add(t, records...)
	}
	await(t, "all are stored", func() bool {
		_, page := s.call(s.bootstrap, http.MethodGet, "/v1/runs", "")
		return strings.Contains(string(page), `"sessions":1000`)
	})
	ada := s.browser("ada")
	ada.login("")
	await(t, "the simulation ends before all sessions", func() bool {
		begun := time.Now()
		status, page := ada.upload(map[string]string{"token": ada.formToken("/policy"), "since": "1h", "policy": stricter}, "")
		if took := time.Since(begun); status != http.StatusOK || took > 20*time.Second {
			t.Fatalf("%d after %v: %.300s", status, took, page)
		}
		return strings.Contains(page, "There are more")
	})
}

func TestSimulateInChromium(t *testing.T) {
	s := newSite(t)
	s.history()
	c := s.chromium()
	c.open("/policy", "light")
	c.run(chromedp.SetValue(chromedp.CSS("#policy"), stricter), chromedp.Click(chromedp.CSS(`form[action^="/policy"] button`)), visible("td.rule"))
	c.shot("simulated")
	axe, err := os.ReadFile("testdata/axe.min.js")
	check(t, err)
	c.inspect("simulated", string(axe), false)
	c.run(c.size(390, 844))
	if over := eval[int](c, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
		t.Errorf("it is %d pixels too wide for a phone", over)
	}
	c.shot("simulated-390")
	for host := range c.hosts {
		if u, err := url.Parse(s.console()); err != nil || host != u.Host {
			t.Error(fmt.Sprint("a page asked ", host))
		}
	}
}
