package collector_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patterns reads the routes that a source file registers.
func patterns(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	check(t, err)
	var all []string
	for _, found := range regexp.MustCompile(`"((?:GET|POST) /[^"]*)"`).FindAllStringSubmatch(string(text), -1) {
		all = append(all, found[1])
	}
	if len(all) < 15 {
		t.Fatalf("%s registers only %q", file, all)
	}
	return all
}

// glimpse reads what a request answers at once; a live stream does not end by
// itself.
func (b *browser) glimpse(method, path string, form url.Values) (int, string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, b.console()+path, strings.NewReader(form.Encode()))
	check(b.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := b.client.Do(r)
	check(b.t, err)
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body) // a stream is cut by the time
	return answer.StatusCode, string(text)
}

// TestNoPageShowsATeamWhatIsAnothers asks every page and every live stream of
// the console, as somebody of one team and as nobody.
func TestNoPageShowsATeamWhatIsAnothers(t *testing.T) {
	s := newSite(t)
	s.withOrders()
	a := s.agent()
	a.runFor(t, "ours0000", "shop-db", "acme/shop", "SELECT needle")
	a.runFor(t, "theirs00", "shop-db", "acme/wiki", "SELECT needle")
	a.runFor(t, "nobodys0", "shop-db", "", "SELECT needle")
	a.runFor(t, "other000", "hr-db", "acme/shop", "SELECT needle")
	for _, id := range []string{"ours0000", "theirs00", "nobodys0", "other000"} {
		s.awaitSession(id)
	}
	ours, _ := a.ask(t, "shop-db", "acme/shop", nothing)
	theirs, _ := a.ask(t, "shop-db", "acme/wiki", nothing)
	elsewhere, _ := a.ask(t, "hr-db", "acme/shop", nothing)
	tom, nobody := s.browser("tom"), s.browser("tom")
	tom.login("")
	token := tom.formToken("/sessions")
	type page struct {
		path   string
		status int
		shows  string
	}
	at := func(path string, number uint64) string { return fmt.Sprintf(path, number) }
	asked := map[string][]page{
		"GET /{$}":                            {{"/", 200, "secret_of_shop-db"}},
		"GET /approvals":                      {{"/approvals?state=all", 200, "secret_of_shop-db"}},
		"GET /approvals/live":                 {{"/approvals/live?state=all", 200, "secret_of_shop-db"}},
		"GET /approvals/{number}":             {{at("/approvals/%d", ours), 200, "secret_of_shop-db"}, {at("/approvals/%d", theirs), 404, ""}, {at("/approvals/%d", elsewhere), 404, ""}},
		"POST /approvals/{number}/vote":       {{at("/approvals/%d/vote", theirs), 404, ""}, {at("/approvals/%d/vote", elsewhere), 404, ""}},
		"GET /runs":                           {{"/runs", 200, "acme/shop/1"}},
		"GET /run":                            {{"/run?run=verified:acme/shop/1", 200, "ours0000"}, {"/run?run=verified:acme/wiki/1", 404, ""}},
		"GET /sessions":                       {{"/sessions", 200, "ours0000"}, {"/sessions?resource=hr-db", 200, "No session fits"}, {"/sessions?before=theirs00", 404, ""}},
		"GET /sessions/live":                  {{"/sessions/live", 200, "ours0000"}, {"/sessions/live?repository=acme/wiki", 200, "No session fits"}},
		"GET /sessions/{id}":                  {{"/sessions/ours0000", 200, "needle"}, {"/sessions/theirs00", 404, ""}, {"/sessions/nobodys0", 404, ""}, {"/sessions/other000", 404, ""}},
		"GET /sessions/{id}/records":          {{"/sessions/ours0000/records", 200, "needle"}, {"/sessions/theirs00/records", 404, ""}},
		"GET /sessions/{id}/proof":            {{"/sessions/ours0000/proof", 200, "Proof"}, {"/sessions/theirs00/proof", 404, ""}},
		"GET /sessions/{id}/cast/{operation}": {{"/sessions/ours0000/cast/1", 200, "version"}, {"/sessions/theirs00/cast/1", 404, ""}},
		"GET /stop":                           {{"/stop?session=theirs00", 404, ""}, {"/stop?run=verified:acme/wiki/1", 404, ""}, {"/stop?run=verified:acme/shop/1", 200, "Quarantine"}},
		"POST /stop":                          {{"/stop?session=theirs00", 404, ""}, {"/stop?run=verified:acme/wiki/1", 404, ""}},
		"GET /search":                         {{"/search?q=needle", 200, "ours0000"}, {"/search?q=theirs00", 200, "Nothing holds"}},
		"GET /agents":                         {{"/agents", 200, node}},
		"GET /policy":                         {{"/policy", 200, node}},
		"POST /policy":                        {{"/policy", 400, ""}},
		"GET /verification":                   {{"/verification", 200, "Checkpoint"}},
		"POST /logout":                        nil, // below
		"GET /login":                          nil, // for everybody
		"GET /login/callback":                 nil,
		"GET /assets/{version}/{name}":        nil,
	}
	hidden := []string{"theirs00", "nobodys0", "other000", "acme/wiki", "hr-db"}
	mine := []string{"ours0000", "secret_of", "acme/shop", "needle", node}
	for _, pattern := range patterns(t, "web/web.go") {
		pages, known := asked[pattern]
		if !known {
			t.Errorf("%s: who sees what there? Say it here", pattern)
		}
		method, _, _ := strings.Cut(pattern, " ")
		for _, p := range pages {
			form := url.Values{"token": {token}, "decision": {"approve"}, "reason": {"x"}, "lasts": {"1h"}}
			status, text := tom.glimpse(method, p.path, form)
			if status != p.status || !strings.Contains(text, p.shows) {
				t.Errorf("%s %s: %d, want %d with %q: %.600s", method, p.path, status, p.status, p.shows, text)
			}
			reveals(t, method+" "+p.path, p.path, text, hidden)
			status, text = nobody.glimpse(method, p.path, form)
			if status != http.StatusUnauthorized {
				t.Errorf("%s %s by nobody: %d", method, p.path, status)
			}
			reveals(t, method+" "+p.path+" by nobody", p.path, text, append(hidden, mine...))
		}
	}
	live := make(chan string, 1)
	go func() {
		_, text := tom.glimpse(http.MethodGet, "/sessions/live", nil)
		live <- text
	}()
	a.runFor(t, "late0000", "shop-db", "acme/wiki", "SELECT 1")
	s.awaitSession("late0000")
	reveals(t, "a stream that is open", "", <-live, append(hidden, "late0000"))
}

// reveals looks for words that somebody may not see. What they asked for
// themselves may come back to them.
func reveals(t *testing.T, what, path, text string, words []string) {
	t.Helper()
	path, err := url.QueryUnescape(path)
	check(t, err)
	for _, word := range words {
		if strings.Contains(text, word) && !strings.Contains(path, word) {
			t.Errorf("%s shows %q", what, word)
		}
	}
}

// TestNobodyIsToldAnythingByTheAPI asks every route without a token, and with a
// wrong one.
func TestNobodyIsToldAnythingByTheAPI(t *testing.T) {
	s := newSite(t)
	open := map[string]bool{"GET /v1/healthz": true, "GET /v1/login": true}
	for _, pattern := range patterns(t, "api/api.go") {
		if open[pattern] {
			continue
		}
		method, path, _ := strings.Cut(pattern, " ")
		path = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "1")
		if status, answer := s.call("", method, path, "{}"); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", pattern, status, answer)
		}
	}
	token := s.token("tom", "team-a")
	for _, route := range []string{"GET /v1/policies", "GET /v1/policies/1", "POST /v1/policies"} { // these rule over all teams
		method, path, _ := strings.Cut(route, " ")
		if status, answer := s.call(token, method, path, "{}"); status != http.StatusForbidden {
			t.Errorf("%s by an admin with limits: %d %s", route, status, answer)
		}
	}
}
