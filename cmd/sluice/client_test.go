package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestReportsWaitForABusyCollector: a report asks more at once than the
// collector answers in a second. One that it has shut out is told.
func TestReportsWaitForABusyCollector(t *testing.T) {
	asked, after := 0, "2"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"error": "wait"}`))
			return
		}
		_, _ = w.Write([]byte(`{"answer": 42}`))
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{base: base, http: server.Client()}
	var got struct{ Answer int }
	if err := c.get(t.Context(), "/v1/sessions", nil, &got); err != nil || got.Answer != 42 || asked != 3 {
		t.Errorf("asked %d times: %+v, %v", asked, got, err)
	}
	asked, after = 0, "31"
	if err := c.get(t.Context(), "/v1/sessions", nil, &got); err == nil || !strings.Contains(err.Error(), "wait") || asked != 1 {
		t.Errorf("shut out, it asked %d times: %v", asked, err)
	}
}
