package collector_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

func (s *site) order(key ed25519.PrivateKey) []byte {
	s.t.Helper()
	signed, err := approval.SignOrder(approval.Order{
		ID: approval.NewID(), Kind: approval.Quarantine, Run: "acme/shop/4711", By: "ada", Reason: "it digs",
		At: time.Now(), Expires: time.Now().Add(time.Hour),
	}, key)
	check(s.t, err)
	return signed
}

func (s *site) signKill(id string) []byte {
	s.t.Helper()
	signed, err := approval.SignOrder(approval.Order{
		ID: approval.NewID(), Kind: approval.Kill, Session: id, By: "ada", At: time.Now(), Expires: time.Now().Add(time.Hour),
	}, s.ada)
	check(s.t, err)
	return signed
}

func TestOrderReachesAgentsAtOnceAndThoseThatWereAwayWhenTheyAsk(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runSession(t, "s1", "SELECT 1")
	s.awaitSession("s1") // the agent is connected
	signed := s.order(s.ada)
	status, answer := s.call(s.token("ada", "dba"), http.MethodPost, "/v1/orders", string(signed))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	select {
	case got := <-a.orders:
		if !bytes.Equal(got, signed) {
			t.Errorf("the agent got %s", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the agent got nothing")
	}
	request, err := json.Marshal(translog.SyncRequest{})
	check(t, err)
	reply, err := a.bus.Sync(t.Context(), request)
	check(t, err)
	if len(reply.Orders) != 1 || !bytes.Equal(reply.Orders[0], signed) {
		t.Errorf("an agent that asks gets %d orders", len(reply.Orders))
	}
	listed := get[[]view.Order](s, "/v1/orders")
	if len(listed) != 1 || listed[0].Run != "acme/shop/4711" || listed[0].By != "ada" {
		t.Errorf("listed %+v", listed)
	}
}

// An agent that asks gets all that is in force, also when somebody has given
// more orders than one message holds.
func TestMoreOrdersThanOneMessageHoldsReachAnAgentThatAsks(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runSession(t, "s1", "SELECT 1")
	s.awaitSession("s1") // the agent is connected
	const n = 2000
	want := map[string]bool{}
	for range n {
		signed := s.order(s.ada)
		want[string(signed)] = true
		check(t, s.collector.Store().AddOrder(t.Context(), approval.NewID(), time.Now(), time.Now().Add(time.Hour), signed))
	}
	request, err := json.Marshal(translog.SyncRequest{})
	check(t, err)
	reply, err := a.bus.Sync(t.Context(), request)
	check(t, err)
	for _, signed := range reply.Orders {
		delete(want, string(signed))
	}
	for len(want) > 0 {
		select {
		case signed := <-a.orders:
			delete(want, string(signed))
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d orders are missing", len(want), n)
		}
	}
	if len(reply.Receipt) == 0 {
		t.Error("the answer has no receipt")
	}
}

func TestOrderThatIsNotThePersonsOwnIsRefused(t *testing.T) {
	s := newSite(t)
	_, stranger, err := ed25519.GenerateKey(nil)
	check(t, err)
	for name, test := range map[string]struct {
		token  string
		signed []byte
		want   int
	}{
		"another's key":      {s.token("ada", "dba"), s.order(stranger), http.StatusUnprocessableEntity},
		"another's order":    {s.token("bob", "dba"), s.order(s.ada), http.StatusForbidden},
		"a viewer":           {s.token("ada", "nobody"), s.order(s.ada), http.StatusForbidden},
		"no order":           {s.token("ada", "dba"), []byte("{}"), http.StatusUnprocessableEntity},
		"more than there is": {s.token("ada", "dba"), bytes.Repeat([]byte("x"), 100<<10), http.StatusRequestEntityTooLarge},
	} {
		if status, answer := s.call(test.token, http.MethodPost, "/v1/orders", string(test.signed)); status != test.want {
			t.Errorf("%s: %d %s, want %d", name, status, answer, test.want)
		}
	}
	if listed := get[[]view.Order](s, "/v1/orders"); len(listed) != 0 {
		t.Errorf("listed %+v", listed)
	}
}
