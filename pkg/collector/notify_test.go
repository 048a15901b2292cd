package collector_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/config"
)

func TestNotifierThatIsAwayBlocksNoDecisionAndIsToldLater(t *testing.T) {
	got := make(chan string, 16)
	open := make(chan struct{}) // a request hangs until it is closed
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-open:
			got <- r.Header.Get("webhook-id")
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	s := newSite(t)
	s.stop()
	check(t, os.WriteFile(s.path("hook"), []byte("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600))
	s.cfg.Notify.PrivateNetworks = []string{"127.0.0.0/8"}
	s.cfg.Notify.Webhooks = []collector.Webhook{{Name: "hook", URL: server.URL, SecretFile: config.Path(s.path("hook"))}}
	s.start()
	a := s.agent()
	number, signed := a.ask(t, "shop-db", "acme/shop", func(r *approval.Request) {})
	began := time.Now()
	status, body := s.call(s.token("ada", "dba"), http.MethodPost, fmt.Sprintf("/v1/approvals/%d/votes", number), s.signVote(signed, "approve"))
	if status != http.StatusOK || time.Since(began) > 5*time.Second {
		t.Errorf("with a notifier that hangs, a vote takes %v: %d %s", time.Since(began), status, body)
	}
	if u := a.nextVote(); len(u.Vote) == 0 {
		t.Error("the agent is not told")
	}
	s.stop() // and what was not told survives a restart
	close(open)
	s.start()
	ids := map[string]bool{}
	await(t, "both messages come", func() bool {
		select {
		case id := <-got:
			ids[id] = true
		default:
		}
		return len(ids) == 2
	})
}
