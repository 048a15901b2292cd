package approval_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
)

// consoleOrder is what the collector signs for ann, who has just logged in.
func (p *people) consoleOrder(t *testing.T, kind approval.OrderKind, signer string, change func(*approval.Order)) []byte {
	t.Helper()
	o := order(kind)
	o.Login = &approval.Login{Account: approval.Account{Issuer: corporate, Subject: "ann"}, At: o.At.Add(-time.Minute)}
	change(&o)
	signed, err := approval.SignOrder(o, p.keys[signer])
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestConsoleOrdersOnlyWhereTheRosterSaysSo(t *testing.T) {
	asIs := func(*approval.Order) {}
	for name, test := range map[string]struct {
		kind   approval.OrderKind
		signer string
		roster func(*approval.Roster)
		change func(*approval.Order)
		want   error
	}{
		"kill":              {approval.Kill, "console", nil, asIs, nil},
		"quarantine":        {approval.Quarantine, "console", nil, asIs, nil},
		"lift":              {approval.Release, "console", nil, asIs, nil},
		"not in the roster": {approval.Kill, "console", func(r *approval.Roster) { r.ConsoleOrders = false }, asIs, approval.ErrSignature},
		"no login":          {approval.Kill, "console", nil, func(o *approval.Order) { o.Login = nil }, approval.ErrLogin},
		"another's login":   {approval.Kill, "console", nil, func(o *approval.Order) { o.Login.Account.Subject = "bob" }, approval.ErrLogin},
		"in another's name": {approval.Kill, "console", nil, func(o *approval.Order) { o.By = "bob" }, approval.ErrLogin},
		"an old login":      {approval.Kill, "console", nil, func(o *approval.Order) { o.Login.At = o.At.Add(-6 * time.Minute) }, approval.ErrLogin},
		"a later login":     {approval.Kill, "console", nil, func(o *approval.Order) { o.Login.At = o.At.Add(3 * time.Minute) }, approval.ErrLogin},
		"an unknown person": {approval.Kill, "console", nil, func(o *approval.Order) { o.By = "eve" }, approval.ErrNotApprover},
		"own key, a login":  {approval.Kill, "ann", nil, asIs, approval.ErrLogin},
		"another's key":     {approval.Kill, "cem", nil, asIs, approval.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeople(t).withConsole(t)
			p.roster.ConsoleOrders = true
			if test.roster != nil {
				test.roster(&p.roster)
			}
			o, err := approval.OpenOrder(p.consoleOrder(t, test.kind, test.signer, test.change), &p.roster, time.Now())
			if !errors.Is(err, test.want) || test.want == nil && o.By != "ann" {
				t.Errorf("got %+v, %v, want %v", o, err, test.want)
			}
		})
	}
}

func TestRosterCannotLetNobodysConsoleOrder(t *testing.T) {
	p := newPeople(t)
	p.roster.ConsoleOrders = true
	if _, err := approval.SignRoster(p.roster, p.root); err == nil {
		t.Error("orders of a console without a key: signed")
	}
}

func TestWhatAPersonsKeySignedTheConsolesDoesNotTakeBack(t *testing.T) {
	id := approval.NewID()
	for _, test := range []struct {
		name                   string
		order                  approval.Order
		targetByConsole, taken bool
	}{
		{"own key, own key", approval.Order{Kind: approval.Release, Lifts: id}, false, true},
		{"own key, the console's", approval.Order{Kind: approval.Release, Lifts: id}, true, true},
		{"console, the console's", approval.Order{Kind: approval.Release, Lifts: id, Login: &approval.Login{}}, true, true},
		{"console, own key", approval.Order{Kind: approval.Release, Lifts: id, Login: &approval.Login{}}, false, false},
		{"another's id", approval.Order{Kind: approval.Release, Lifts: approval.NewID()}, true, false},
		{"no release", approval.Order{Kind: approval.Quarantine, Lifts: id}, true, false},
	} {
		if got := test.order.TakesBack(id, test.targetByConsole); got != test.taken {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
