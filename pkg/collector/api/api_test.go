package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

// served is an API over an empty store. The token is the caller's role;
// "admin" is what the bootstrap token gives.
type served struct {
	*httptest.Server
	logs *observer.ObservedLogs
	db   *store.Store
	vkey string // of the log
}

func serve(t *testing.T) *served {
	t.Helper()
	skey, vkey, err := translog.GenerateKey("log.example/test")
	check(t, err)
	signer, err := translog.NewSigner(skey)
	check(t, err)
	db, err := store.Open(t.Context(), t.TempDir(), vkey, signer)
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	for i := range 13 {
		_, _, err := db.AddApproval(t.Context(), view.Approval{ID: fmt.Sprint(i), Agent: "node-1", Resource: "shop-db", NotAfter: time.Now().Add(time.Hour), Request: []byte("r")})
		check(t, err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	server := httptest.NewServer(api.New(api.Config{
		Store: db, Log: zap.New(core), Limiter: api.NewLimiter(),
		Identify: func(_ context.Context, token string) (api.Caller, error) {
			if !api.Role(token).Valid() {
				return api.Caller{}, api.ErrUnknownCaller
			}
			return api.Caller{Name: token, Grants: []api.Grant{{Roles: []api.Role{api.Role(token)}}}}, nil
		},
		Order: func(_ context.Context, _ api.Caller, _ view.Scope, signed []byte) (view.Order, error) {
			return view.Order{ID: string(signed)}, nil
		},
		Publish: func(_ context.Context, _ api.Caller, published []byte) (view.Publication, error) {
			return view.Publication{SHA256: string(published)}, nil
		},
		Policies: func(context.Context) ([]view.Publication, error) { return []view.Publication{}, nil },
		Policy: func(_ context.Context, sequence uint64) (approval.Published, error) {
			return approval.Published{Signed: []byte("s")}, nil
		},
		Orders: func(context.Context) ([]view.Order, error) { return []view.Order{}, nil },
		Review: func(context.Context, api.Caller, view.Scope, []byte) (view.Preapproval, error) {
			return view.Preapproval{}, &api.Refusal{Status: http.StatusUnprocessableEntity, Reason: "no"}
		},
		Reviewed: func(context.Context, view.Scope) ([]view.Preapproval, error) { return []view.Preapproval{}, nil },
		Vote: func(_ context.Context, _ api.Caller, number uint64, signed []byte) (view.Approval, error) {
			if number == 13 {
				return view.Approval{}, errors.New("SELECT secret FROM somewhere")
			}
			return view.Approval{Number: number, State: string(signed)}, nil
		},
		Approver: func(by api.Caller) string { return by.Name },
		Agents:   func(context.Context) ([]view.Chain, error) { return []view.Chain{}, nil },
		Witness:  func(context.Context, api.Caller, api.Act) error { return nil },
		Export: func(_ context.Context, to io.Writer, _ view.Scope, what api.Selection) error {
			if _, err := io.WriteString(to, "begun"); err != nil {
				return err
			}
			if what.Since.After(time.Now().Add(-time.Minute)) {
				return errors.New("the disk is gone")
			}
			return nil
		},
	}))
	t.Cleanup(server.Close)
	return &served{server, logs, db, vkey}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *served) call(t *testing.T, token, method, path, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	check(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	check(t, err)
	defer func() { check(t, response.Body.Close()) }()
	raw, err := io.ReadAll(response.Body)
	check(t, err)
	return response.StatusCode, string(raw)
}

func TestRolesOpenWhatTheyAreFor(t *testing.T) {
	s := serve(t)
	const vote = "POST /v1/approvals/1/votes"
	for path, allowed := range map[string]string{
		"GET /v1/sessions":            "viewer responder approver admin",
		"GET /v1/sessions/x":          "viewer responder approver admin",
		"GET /v1/sessions/x/records":  "responder admin",
		"GET /v1/search?q=x":          "responder admin",
		"GET /v1/export?since=1h":     "responder admin",
		"GET /v1/runs":                "viewer responder approver admin",
		"GET /v1/agents":              "viewer responder approver admin",
		"GET /v1/findings":            "viewer responder approver admin",
		"GET /v1/checkpoint":          "viewer responder approver admin",
		"GET /v1/log/checkpoint":      "viewer responder approver admin",
		"GET /v1/log/cosigned":        "viewer responder approver admin",
		"GET /v1/log/tile/0/000.p/1":  "viewer responder approver admin",
		"GET /v1/log/tile/entries/x":  "viewer responder approver admin",
		"GET /v1/whoami":              "viewer responder approver admin",
		"GET /v1/approvals":           "approver responder admin",
		"GET /v1/approvals/1":         "approver responder admin",
		"GET /v1/approvals?state=all": "approver responder admin",
		"GET /v1/policies":            "viewer responder approver admin",
		"GET /v1/policies/1":          "admin",
		"POST /v1/policies":           "admin",
		vote:                          "approver",
	} {
		for _, role := range []string{"viewer", "responder", "approver", "admin"} {
			method, target, _ := strings.Cut(path, " ")
			status, answer := s.call(t, role, method, target, "v")
			refused := status == http.StatusForbidden
			if want := !strings.Contains(" "+allowed+" ", " "+role+" "); refused != want {
				t.Errorf("%s as %s: %d %s", path, role, status, answer)
			}
		}
		method, target, _ := strings.Cut(path, " ")
		for _, token := range []string{"", "nobody"} {
			if status, _ := s.call(t, token, method, target, "v"); status != http.StatusUnauthorized {
				t.Errorf("%s with token %q: %d", path, token, status)
			}
		}
	}
}

func TestEveryRefusalIsJSONWithAnError(t *testing.T) {
	s := serve(t)
	for path, want := range map[string]int{
		"/v1/sessions?limit=0":            http.StatusBadRequest,
		"/v1/sessions?limit=1001":         http.StatusBadRequest,
		"/v1/sessions?limit=1&limit=2":    http.StatusBadRequest,
		"/v1/sessions?denied=yes":         http.StatusBadRequest,
		"/v1/sessions?since=yesterday":    http.StatusBadRequest,
		"/v1/sessions?sinc=1h":            http.StatusBadRequest,
		"/v1/sessions/none":               http.StatusNotFound,
		"/v1/sessions/none/records":       http.StatusNotFound,
		"/v1/search":                      http.StatusBadRequest,
		"/v1/search?q=" + long:            http.StatusBadRequest,
		"/v1/approvals/0":                 http.StatusBadRequest,
		"/v1/approvals/99":                http.StatusNotFound,
		"/v1/approvals/-1":                http.StatusBadRequest,
		"/v1/export":                      http.StatusBadRequest,
		"/v1/export?session=a&since=1h":   http.StatusBadRequest,
		"/v1/export?session=none":         http.StatusNotFound,
		"/v2/sessions":                    http.StatusNotFound,
		"/v1/sessions/../../etc/passwd/x": http.StatusNotFound,
	} {
		status, answer := s.call(t, "admin", http.MethodGet, path, "")
		var problem view.Problem
		if err := json.Unmarshal([]byte(answer), &problem); err != nil || problem.Error == "" || status != want {
			t.Errorf("%s: %d %s, want %d", path, status, answer, want)
		}
	}
}

var long = strings.Repeat("x", 1001)

func TestVoteReachesWhoChecksItUnchanged(t *testing.T) {
	s := serve(t)
	status, answer := s.call(t, "approver", http.MethodPost, "/v1/approvals/7/votes", "signed bytes")
	var a view.Approval
	check(t, json.Unmarshal([]byte(answer), &a))
	if status != http.StatusOK || a.Number != 7 || a.State != "signed bytes" {
		t.Errorf("%d %s", status, answer)
	}
	if status, _ := s.call(t, "approver", http.MethodPost, "/v1/approvals/7/votes", strings.Repeat("x", 65<<10)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a vote that is too large: %d", status)
	}
}

func TestInternalErrorsAreNotTold(t *testing.T) {
	s := serve(t)
	status, answer := s.call(t, "approver", http.MethodPost, "/v1/approvals/13/votes", "v")
	if status != http.StatusInternalServerError || strings.Contains(answer, "SELECT") {
		t.Errorf("%d %s", status, answer)
	}
}

func TestSearchWordsAndTokensStayOutOfTheLog(t *testing.T) {
	s := serve(t)
	s.call(t, "admin", http.MethodGet, "/v1/search?q=topsecretword", "")
	s.call(t, "topsecrettoken", http.MethodGet, "/v1/sessions", "")
	for _, entry := range s.logs.All() {
		raw, err := json.Marshal(entry.ContextMap())
		check(t, err)
		if strings.Contains(entry.Message+string(raw), "topsecret") {
			t.Errorf("logged: %s %s", entry.Message, raw)
		}
	}
}

func TestExportThatFailsInTheMiddleIsCut(t *testing.T) {
	s := serve(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/export?since=1s", nil)
	check(t, err)
	request.Header.Set("Authorization", "Bearer admin")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return // cut before the first byte was sent
	}
	defer func() { check(t, response.Body.Close()) }()
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("an incomplete export looks complete")
	}
}

func TestHealthNeedsNoToken(t *testing.T) {
	s := serve(t)
	if status, answer := s.call(t, "", http.MethodGet, "/v1/healthz", ""); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
}
