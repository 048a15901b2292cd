package collector_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestCookiesAreForThisSiteAlone(t *testing.T) {
	s := newSite(t)
	ada := s.browser("ada")
	var kept []string
	ada.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		kept = append(kept, r.Response.Header.Values("Set-Cookie")...)
		return nil
	}
	ada.login("")
	all := strings.Join(kept, "\n")
	if len(kept) < 2 || !strings.Contains(all, "sluice=") {
		t.Fatalf("the login keeps %q", all)
	}
	for _, cookie := range kept {
		for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/"} {
			if !strings.Contains(cookie, want) {
				t.Errorf("%s is not in %q", want, cookie)
			}
		}
		if strings.Contains(cookie, "Domain=") {
			t.Errorf("other hosts get %q", cookie)
		}
	}
	s.stop()
	s.cfg.Console.URL = "https://console.example"
	s.start()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Get(s.console() + "/login")
	check(t, err)
	check(t, answer.Body.Close())
	cookie := answer.Header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-") || !strings.Contains(cookie, "; Secure") || answer.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("over TLS: %q, %q", cookie, answer.Header.Get("Strict-Transport-Security"))
	}
}

func TestLoginsAreNotGuessedForever(t *testing.T) {
	s := newSite(t)
	stranger := s.browser("ada")
	for range 10 {
		if status, _, _ := stranger.get("/login/callback?state=guessed&code=guessed"); status != http.StatusForbidden {
			t.Fatalf("a login that did not begin here: %d", status)
		}
	}
	if status, page, _ := stranger.get("/login"); status != http.StatusTooManyRequests {
		t.Errorf("after ten refused logins: %d %.200s", status, page)
	}
}
