package collector_test

import (
	"bytes"
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// reviewed is what ada signed, and its id.
func (s *site) reviewed(key ed25519.PrivateKey, change func(*approval.Preapproval)) (id string, signed []byte) {
	s.t.Helper()
	p := approval.Preapproval{
		ID: approval.NewID(), Cluster: "test", Issuer: "https://ci.example", Repository: "acme/shop", Commit: strings.Repeat("a", 40), Resource: "shop-db", Rule: "ddl",
		Where: approval.Where{Database: "shop", Role: "app"}, File: strings.Repeat("b", 64), Shapes: []approval.Shape{{Digest: strings.Repeat("c", 64), Line: 1}},
		By: "ada", At: time.Now(), Expires: time.Now().Add(time.Hour),
	}
	change(&p)
	signed, err := approval.SignPreapproval(p, key)
	check(s.t, err)
	return p.ID, signed
}

func asIs(*approval.Preapproval) {}

func TestReviewedFileReachesAgentsAndCanBeTakenBack(t *testing.T) {
	s := newSite(t)
	a := s.agent()
	a.runSession(t, "s1", "SELECT 1")
	s.awaitSession("s1") // the agent is connected
	id, signed := s.reviewed(s.ada, asIs)
	if status, answer := s.call(s.token("ada", "dba"), http.MethodPost, "/v1/preapprovals", string(signed)); status != http.StatusOK {
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
	listed := get[[]view.Preapproval](s, "/v1/preapprovals")
	if len(listed) != 1 || listed[0].ID != id || listed[0].Statements != 1 || listed[0].By != "ada" {
		t.Errorf("listed: %+v", listed)
	}
	if orders := get[[]view.Order](s, "/v1/orders"); len(orders) != 0 {
		t.Errorf("it is listed among orders: %+v", orders)
	}
	lift, err := approval.SignOrder(approval.Order{
		ID: approval.NewID(), Kind: approval.Release, Lifts: id, By: "ada", At: time.Now(), Expires: time.Now().Add(time.Hour),
	}, s.ada)
	check(t, err)
	if status, answer := s.call(s.token("ada", "dba"), http.MethodPost, "/v1/orders", string(lift)); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	if left := get[[]view.Preapproval](s, "/v1/preapprovals"); len(left) != 0 {
		t.Errorf("taken back, and still listed: %+v", left)
	}
}

func TestReviewedFileThatDoesNotCountIsRefused(t *testing.T) {
	s := newSite(t)
	_, eve, err := ed25519.GenerateKey(nil)
	check(t, err)
	ada := s.token("ada", "dba")
	_, forged := s.reviewed(eve, asIs)
	_, elsewhere := s.reviewed(s.ada, func(p *approval.Preapproval) { p.Cluster = "main" })
	_, good := s.reviewed(s.ada, asIs)
	for name, test := range map[string]struct {
		token, body string
		want        int
	}{
		"by a key of nobody":   {ada, string(forged), http.StatusUnprocessableEntity},
		"for another cluster":  {ada, string(elsewhere), http.StatusUnprocessableEntity},
		"junk":                 {ada, "junk", http.StatusUnprocessableEntity},
		"an order":             {ada, string(s.order(s.ada)), http.StatusUnprocessableEntity},
		"brought by another":   {s.token("mallory", "dba"), string(good), http.StatusForbidden},
		"brought by a visitor": {s.token("vic", "nobody"), string(good), http.StatusForbidden},
		"more than is read":    {ada, strings.Repeat("x", 70<<10), http.StatusRequestEntityTooLarge},
	} {
		if status, answer := s.call(test.token, http.MethodPost, "/v1/preapprovals", test.body); status != test.want {
			t.Errorf("%s: %d %s, want %d", name, status, answer, test.want)
		}
	}
	for i := range 17 {
		_, one := s.reviewed(s.ada, asIs)
		want := http.StatusOK
		if i == 16 {
			want = http.StatusConflict
		}
		if status, answer := s.call(ada, http.MethodPost, "/v1/preapprovals", string(one)); status != want {
			t.Fatalf("number %d: %d %s", i, status, answer)
		}
	}
}
