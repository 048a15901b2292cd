package view_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

func TestScopeSeesOnlyWhatBothListsAllow(t *testing.T) {
	team := view.NewScope(view.Pair{Resources: []string{"shop-db"}, Repositories: []string{"acme/shop", "acme/web/*"}}, view.Pair{Resources: []string{"wiki-db"}})
	for _, c := range []struct {
		scope                view.Scope
		resource, repository string
		want                 bool
	}{
		{view.Scope{}, "shop-db", "acme/shop", false},
		{view.NewScope(), "", "", false},
		{view.Everything(), "", "", true},
		{view.NewScope(view.Pair{}), "x", "", true},
		{team, "shop-db", "acme/shop", true},
		{team, "shop-db", "acme/shop2", false},
		{team, "shop-db", "acme/web/site", true},
		{team, "shop-db", "acme/web", false},
		{team, "shop-db", "acme/webb", false},
		{team, "shop-db", "", false},
		{team, "other-db", "acme/shop", false},
		{team, "wiki-db", "acme/shop", true},
		{team, "wiki-db", "", true},
	} {
		if got := c.scope.Sees(c.resource, c.repository); got != c.want {
			t.Errorf("%+v sees %q of %q: %v", c.scope, c.repository, c.resource, got)
		}
	}
}
