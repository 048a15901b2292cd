package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/api"
)

func from(address string) *http.Request { return &http.Request{RemoteAddr: address} }

func TestAddressThatFailsTooOftenIsShutOutAlone(t *testing.T) {
	l := api.NewLimiter()
	for range 10 {
		if wait := l.Allow(from("192.0.2.1:1")); wait > 0 {
			t.Fatalf("shut out early: %v", wait)
		}
		l.Failed(from("192.0.2.1:1"))
	}
	first := l.Allow(from("192.0.2.1:2"))
	l.Failed(from("192.0.2.1:3"))
	second := l.Allow(from("192.0.2.1:4"))
	if first < 20*time.Second || second < first+20*time.Second || second > 15*time.Minute {
		t.Errorf("waits %v, then %v", first, second)
	}
	for _, other := range []string{"192.0.2.2:1", "[2001:db8::1]:1"} {
		if wait := l.Allow(from(other)); wait > 0 {
			t.Errorf("%s waits %v for another's failures", other, wait)
		}
	}
	for range 9 {
		l.Failed(from("[2001:db8::1]:1"))
	}
	l.Succeeded(from("[2001:db8::1]:1"))
	l.Failed(from("[2001:db8::2]:1"))
	if wait := l.Allow(from("[2001:db8::3]:1")); wait > 0 {
		t.Errorf("a success in between does not count: %v", wait)
	}
}

func TestAddressThatAsksTooMuchWaits(t *testing.T) {
	l := api.NewLimiter()
	served := 0
	for range 1000 {
		if l.Allow(from("192.0.2.1:1")) == 0 {
			served++
		}
	}
	if served < 200 || served > 300 {
		t.Errorf("%d of 1000 requests at once are served", served)
	}
}

func TestTokensAreNotGuessedForever(t *testing.T) {
	s := serve(t)
	status := 0
	for range 20 {
		status, _ = s.call(t, "nobody", http.MethodGet, "/v1/sessions", "")
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("the twentieth guess: %d", status)
	}
}
