package collector_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
)

// worksBy is a session of node-2 that was decided by a policy.
func (n *node2) worksBy(s *site, policy string) {
	s.t.Helper()
	one, opened := shop(time.Now(), "c0ffee")
	asked := one.Query("SELECT 1", "n", "1")
	asked[0].Header.Intent.Policy = policy
	n.add(s.t, append([]collectortest.Record{opened}, asked...)...)
	s.awaitStored(one.ID)
}

// publishes puts a text in force, and returns its sequence.
func (s *site) publishes(token, text string, change func(*approval.Publication)) (sequence uint64) {
	s.t.Helper()
	published := s.publication(text, func(p *approval.Publication) {
		change(p)
		sequence = p.Sequence
	})
	if status, answer := s.call(token, http.MethodPost, "/v1/policies", string(published)); status != http.StatusOK {
		s.t.Fatalf("%d %s", status, answer)
	}
	return sequence
}

func TestPolicyPageSaysWhatIsInForceSinceWhenAndByWhom(t *testing.T) {
	s, token := newAdminSite(t)
	n := s.node2()
	n.worksBy(s, "0f0f")
	ada, tom, eve := s.browser("ada"), s.browser("tom"), s.browser("eve")
	for _, b := range []*browser{ada, tom, eve} {
		b.login("")
	}
	shows := func(b *browser, path string, wants ...string) {
		t.Helper()
		status, page, _ := b.get(path)
		for _, want := range wants {
			if status != http.StatusOK || !strings.Contains(page, want) {
				t.Errorf("%s does not show %s: %d %s", path, want, status, page[max(0, strings.Index(page, "<main")):])
			}
		}
	}
	lacks := func(b *browser, words ...string) {
		t.Helper()
		_, page, _ := b.get("/policy")
		for _, word := range words {
			if strings.Contains(page, word) {
				t.Errorf("%s is shown %s", b.name, word)
			}
		}
	}
	shows(ada, "/policy", "sha256 0f0f", "since <time", "the node's own file", "Nothing was published")

	old, hash := stricter+"# old\n", approval.PolicyHash([]byte(stricter))
	first := s.publishes(token, old, same)
	second := s.publishes(token, stricter, same)
	for range 2 {
		s.publishes(token, stricter+"# deploy\n", func(p *approval.Publication) { p.Agents = []string{"it's-*"} })
	}
	shows(ada, "/policy", "--agents &#39;it&#39;\\&#39;&#39;s-*&#39;", "not the newest", "It does not work by what ada published")
	n.worksBy(s, hash)
	shows(ada, "/policy", "sha256 "+hash+"</span><span>by <span class=\"strong\">ada</span> <q>stricter</q>",
		fmt.Sprintf("sluice policy rollback --to %d --sha256 %s --agents &#39;node-*&#39;", first, approval.PolicyHash([]byte(old))))
	lacks(ada, "not the newest", fmt.Sprintf("--to %d", second))
	shows(ada, fmt.Sprintf("/policy?text=%d", first), "# old\n</textarea>")
	n.worksBy(s, approval.PolicyHash([]byte(old)))
	shows(ada, "/policy", "not the newest", "by <span class=\"strong\">ada</span>")

	lacks(tom, "stricter", "Published", "rollback") // it rules over all teams
	lacks(eve, "?text=", "textarea")                // she reads no policy
	for _, b := range []*browser{tom, eve} {
		if status, page, _ := b.get(fmt.Sprintf("/policy?text=%d", first)); status != http.StatusForbidden || strings.Contains(page, "# old") {
			t.Errorf("%s reads the text: %d", b.name, status)
		}
	}
	for _, wrong := range []string{"0", "x", "1", "99999999999999999999"} {
		if status, _, _ := ada.get("/policy?text=" + wrong); status != http.StatusNotFound {
			t.Errorf("publication %s: %d", wrong, status)
		}
	}
}

func TestPublishedPoliciesInChromium(t *testing.T) {
	s, token := newAdminSite(t)
	n := s.node2()
	s.publishes(token, stricter+"# old\n", func(p *approval.Publication) { p.Reason = hostile })
	s.publishes(token, stricter, func(p *approval.Publication) { p.Agents = []string{hostile[:20], "node-*"} })
	s.publishes(token, stricter+"# new\n", same)
	n.worksBy(s, approval.PolicyHash([]byte(stricter)))
	c := s.chromium()
	axe, err := os.ReadFile("testdata/axe.min.js")
	check(t, err)
	for _, theme := range []string{"light", "dark"} {
		c.open("/policy", theme)
		c.run(chromedp.Click(chromedp.CSS(".back summary")), visible(".back pre"))
		c.inspect("policy "+theme, string(axe), theme == "dark")
		c.shot("published-" + theme)
		c.run(c.size(390, 844))
		if over := eval[int](c, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
			t.Errorf("it is %d pixels too wide for a phone", over)
		}
		c.shot("published-" + theme + "-390")
		c.open("/policy", theme)
		if right := eval[float64](c, `document.querySelector(".nav [aria-current]").getBoundingClientRect().right`); right > 391 {
			t.Errorf("on a phone the name of the page ends at %v pixels", right)
		}
		c.run(c.size(1280, 900))
	}
	c.run(chromedp.Click(chromedp.CSS(`a[href^="/policy?text="]`)), visible("#policy"))
	if text := eval[string](c, `document.getElementById("policy").value`); !strings.HasPrefix(text, "version: 1") {
		t.Errorf("the form holds %.100q", text)
	}
}
