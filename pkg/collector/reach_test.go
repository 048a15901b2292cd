package collector_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
)

// TestApproverSeesWhatItWouldTouch reads the page and the API's answer of one
// approval.
func TestApproverSeesWhatItWouldTouch(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	estimated := int64(1200)
	b, number := s.held(a, "ada", func(r *approval.Request) {
		r.Where = approval.Where{Database: "shop", Role: "clerk", SearchPath: "moved, public"}
		r.Requester.Commit, r.Requester.Evidence = "0123456789abcdef", []string{"claimed.env CLAUDECODE"}
		r.Before = &approval.Before{Operations: 3, Denied: 1, Masked: 7, Same: 2, First: []string{"DELETE orders"}, Whole: true}
		r.Reach = &operation.Reach{Statements: []operation.StatementReach{{
			Kind: "DELETE", Estimated: &estimated, Unknown: "the conditions call functions that are not immutable",
			Relations: []operation.RelationReach{{
				Name: "public." + hostile, Kind: "table", Lock: "ROW EXCLUSIVE", Rows: 3_000_000, Bytes: 5 << 30, Dependants: []string{"foreign key of public.items, deletes cascade"},
			}},
		}}}
	})
	status, body, _ := b.get(fmt.Sprintf("/approvals/%d", number))
	if status != http.StatusOK || strings.Contains(body, "<script>pwned") {
		t.Fatalf("%d, or a name of the server's became a part of the page", status)
	}
	for _, want := range []string{
		"clerk", "moved, public", "about 1200 rows by the planner", "not counted: the conditions call functions", "ROW EXCLUSIVE", "3\u202f000\u202f000", "5.0 GiB",
		"items, deletes cascade", "the job ran this shape 2 times before", "DELETE orders", "3 operations, 1 denied, 7 values masked", "0123456789ab",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	shown := get[view.Approval](s, fmt.Sprintf("/v1/approvals/%d", number))
	if shown.Role != "clerk" || shown.SearchPath != "moved, public" || shown.Database != "shop" || shown.Reach == nil || shown.Before == nil || shown.Before.Same != 2 {
		t.Errorf("the API says %+v", shown)
	}
}

// TestApproverSeesTheCommitsOfAPush: what a push loses and brings stands in the
// text that was signed.
func TestApproverSeesTheCommitsOfAPush(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	b, number := s.held(s.agent(), "ada", func(r *approval.Request) {
		r.Text = "update refs/heads/main\n  loses 1111111 the good commit\n  brings 2222222 the new one"
	})
	if _, body, _ := b.get(fmt.Sprintf("/approvals/%d", number)); !strings.Contains(body, "loses 1111111 the good commit") || !strings.Contains(body, "brings 2222222 the new one") {
		t.Error("the page does not show the commits")
	}
}

// explained is what a request about a table may say beside its text.
func explained(table string) (*approval.Before, *operation.Reach) {
	estimated, counted := int64(1012), int64(999)
	relation := operation.RelationReach{
		Name: "public." + table, Kind: "table", Lock: "ACCESS EXCLUSIVE", Rows: 1_284_003, Bytes: 734 << 20,
		Dependants: []string{"foreign key of public.order_items, deletes cascade", "trigger audit_" + table, "view public.open_" + table},
	}
	update := relation
	update.Lock = "ROW EXCLUSIVE"
	return &approval.Before{Operations: 3, Denied: 1, Masked: 2, First: []string{"ALTER TABLE " + table}, Whole: true}, &operation.Reach{
		Statements: []operation.StatementReach{
			{Kind: "ALTER TABLE", Relations: []operation.RelationReach{relation}},
			{Kind: "UPDATE", Estimated: &estimated, Counted: &counted, Relations: []operation.RelationReach{update}},
		},
	}
}
