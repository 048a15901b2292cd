package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/workload"
)

// pageSize is how many entries a page of a list has.
const pageSize = 50

// question is an approval as a person sees it. Request is what the agent
// signed; when it cannot be verified, Doubt says why and nothing can be
// decided.
type question struct {
	view.Approval
	Ask   approval.Request
	Doubt string
	May   bool   // this person may try to vote here
	OwnBy string // why the console cannot vote: the command that can
	Token string
}

// list is a page of entries.
type list[T any] struct {
	Entries []T
	Filter  url.Values
	Next    string // the address of the next page; empty on the last
	Live    string // the address of live updates; empty: none
	Token   string
	Fresh   bool
}

// states are those that the list can be narrowed to.
var states = []string{"pending", "approved", "denied", "expired", "withdrawn", "abandoned", "all"}

// States lists them for the template.
func (list[T]) States() []string { return states }

// Since lists how far lists can look back, for the template.
func (list[T]) Since() []string { return []string{"15m", "1h", "24h", "168h"} }

func (c *console) question(v *visit, a view.Approval) question {
	q := question{Approval: a, Token: v.token()}
	var err error
	if q.Ask, err = c.Open(a); err != nil {
		q.Doubt = err.Error()
		return q
	}
	q.May = a.State == "pending" && v.by.Sees(api.Approver).Sees(a.Resource, a.Repository) && c.Approver(v.by) != ""
	if q.Ask.Required.OwnKey {
		q.OwnBy = "sluice approvals approve " + strconv.FormatUint(a.Number, 10)
	}
	return q
}

func (c *console) approvalsPage(v *visit) (any, error) {
	f := store.ApprovalFilter{Sees: v.sees, State: "pending", Limit: pageSize}
	query := v.r.URL.Query()
	if state := query.Get("state"); state == "all" {
		f.State = ""
	} else if slices.Contains(states, state) {
		f.State = state
	}
	f.Before, _ = strconv.ParseUint(query.Get("before"), 10, 63) // else the first page
	all, err := c.Store.Approvals(v.ctx(), f)
	if err != nil {
		return nil, err
	}
	page := list[question]{Filter: query, Token: v.token(), Fresh: v.fresh()}
	for _, a := range all {
		page.Entries = append(page.Entries, c.question(v, a))
	}
	if len(all) == pageSize {
		page.Next = next("/approvals", query, strconv.FormatUint(all[pageSize-1].Number, 10))
	}
	page.Live = "/approvals/live?" + query.Encode()
	return page, nil
}

// next is the address of the page after an entry.
func next(path string, query url.Values, before string) string {
	more := url.Values{}
	for name, values := range query {
		more[name] = values
	}
	more.Set("before", before)
	return path + "?" + more.Encode()
}

func (c *console) approvals(v *visit) error {
	if err := c.Witness(v.ctx(), v.by, api.Act{Kind: "approvals.list", Subject: v.r.URL.Query().Get("state")}); err != nil {
		return err
	}
	page, err := c.approvalsPage(v)
	if err != nil {
		return err
	}
	return c.show(v, "approvals", "Approvals", page)
}

// decision is one approval with what led to it.
type decision struct {
	question
	Session *view.Session // nil while its beginning has not come
	Who     workload.Workload
	Before  []*view.Operation // what the session did before
	More    bool              // and that is not all
	Fresh   bool
	Again   string // where to log in again, back to here
	Left    time.Duration
}

func (c *console) approval(v *visit) error {
	number, err := strconv.ParseUint(v.r.PathValue("number"), 10, 63)
	if err != nil {
		return store.ErrNotFound
	}
	a, err := c.Store.Approval(v.ctx(), v.sees, number)
	if err != nil {
		return err
	}
	if err := c.Witness(v.ctx(), v.by, api.Act{Kind: "approval.read", Subject: v.r.PathValue("number")}); err != nil {
		return err
	}
	d := decision{question: c.question(v, a), Fresh: v.fresh(), Left: time.Until(a.NotAfter).Round(time.Second)}
	d.Again = "/login?" + url.Values{"fresh": {"1"}, "next": {v.r.URL.RequestURI()}}.Encode()
	if s, err := c.Store.Session(v.ctx(), v.sees, a.Session); err == nil {
		d.Session = &s
		d.Who = s.Who()
		if d.Before, d.More, err = c.recent(v, &s, a.Operation); err != nil {
			return err
		}
	}
	return c.show(v, "approval", "Approval "+v.r.PathValue("number"), d)
}

// maxBefore is how many operations before a held one are shown.
const maxBefore = 20

// recent returns what a session did before an operation, newest last.
func (c *console) recent(v *visit, s *view.Session, before uint64) (ops []*view.Operation, more bool, err error) {
	page, err := c.Store.Recent(v.ctx(), v.sees, s.ID)
	if err != nil {
		return nil, false, err
	}
	all, err := view.Fold(page.Records)
	if err != nil {
		return nil, false, nil //nolint:nilerr // records that cannot be read are a finding, and no reason not to decide
	}
	for _, op := range all {
		if op.ID < before && op.Kind != "" {
			ops = append(ops, op)
		}
	}
	more = page.Next != "" || len(ops) > maxBefore
	return ops[max(0, len(ops)-maxBefore):], more, nil
}

// reach is how long a yes beyond once can last; agents end it then in any case.
const reach = 12 * time.Hour

// Lasts lists how long a yes beyond once can last, for the template.
func (decision) Lasts() []string { return []string{"15m", "1h", "4h", "12h"} }

func (c *console) vote(v *visit) error {
	number, err := strconv.ParseUint(v.r.PathValue("number"), 10, 63)
	if err != nil {
		return store.ErrNotFound
	}
	if _, err := c.Store.Approval(v.ctx(), v.sees, number); err != nil {
		return err
	}
	choice := Choice{
		Number: number, Decision: approval.Decision(v.r.PostFormValue("decision")), Scope: approval.Once,
		Reason: v.r.PostFormValue("reason"), Proven: v.login.Proven,
	}
	if scope := approval.Scope(v.r.PostFormValue("scope")); scope != "" && choice.Decision == approval.Approve {
		choice.Scope = scope
	}
	if choice.Scope != approval.Once {
		if choice.Lasts, err = time.ParseDuration(v.r.PostFormValue("lasts")); err != nil || choice.Lasts > reach {
			return &api.Refusal{Status: http.StatusBadRequest, Reason: "Say how long it reaches, at most 12h."}
		}
	}
	back := "/approvals/" + v.r.PathValue("number")
	if !v.fresh() {
		// Not a redirect to the issuer: the person must see, and choose again,
		// after they have proved who they are.
		v.w.Header().Set("Location", back+"?again=1")
		v.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	if err := c.Vote(v.ctx(), v.by, choice); err != nil {
		return err
	}
	if v.r.PostFormValue("from") == "list" {
		back = "/approvals"
	}
	http.Redirect(v.w, v.r, back, http.StatusSeeOther)
	return nil
}
