package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/pkg/workload"
)

func (c *console) home(v *visit) error {
	to := "/sessions"
	if !v.by.Sees(decider...).Nothing() {
		to = "/approvals"
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// filterOf reads a list's filters off its address. What is misspelt selects
// nothing more than it says.
func filterOf(v *visit) (store.Filter, error) {
	q := v.r.URL.Query()
	f := store.Filter{
		Sees: v.sees, Limit: pageSize, Before: q.Get("before"), Resource: q.Get("resource"), Protocol: q.Get("protocol"),
		Repository: q.Get("repository"), Run: q.Get("run"), Agent: q.Get("agent"),
		Denied: q.Get("denied") == "1", Held: q.Get("held") == "1", Open: q.Get("open") == "1",
	}
	if since := q.Get("since"); since != "" {
		ago, err := time.ParseDuration(since)
		if err != nil {
			return f, &api.Refusal{Status: http.StatusBadRequest, Reason: "The time to look back is written like 30m or 24h."}
		}
		f.Since = time.Now().Add(-ago)
	}
	return f, nil
}

func (c *console) sessionsPage(v *visit) (any, error) {
	f, err := filterOf(v)
	if err != nil {
		return nil, err
	}
	all, err := c.Store.Sessions(v.ctx(), f)
	if err != nil {
		return nil, err
	}
	page := list[view.Session]{Entries: all, Filter: v.r.URL.Query()}
	if len(all) == pageSize {
		page.Next = next("/sessions", page.Filter, all[pageSize-1].ID)
	}
	if f.Before == "" {
		page.Live = "/sessions/live?" + page.Filter.Encode()
	}
	return page, nil
}

func (c *console) sessions(v *visit) error {
	page, err := c.sessionsPage(v)
	if err != nil {
		return err
	}
	return c.show(v, "sessions", "Sessions", page)
}

func (c *console) runs(v *visit) error {
	query := v.r.URL.Query()
	all, err := c.Store.Runs(v.ctx(), v.sees, query.Get("before"), pageSize)
	if err != nil {
		return err
	}
	page := list[view.Run]{Entries: all, Filter: query}
	if len(all) == pageSize {
		page.Next = next("/runs", query, all[pageSize-1].ID)
	}
	return c.show(v, "runs", "Runs", page)
}

// oneRun is a run with its sessions.
type oneRun struct {
	view.Run
	list[view.Session]
	Orders against
	Stops  bool // the visitor may ask for it to be stopped
}

func (c *console) run(v *visit) error {
	query := v.r.URL.Query()
	run, err := c.Store.Run(v.ctx(), v.sees, query.Get("run"))
	if err != nil {
		return err
	}
	page, err := c.sessionsPage(v)
	if err != nil {
		return err
	}
	sessions := page.(list[view.Session])
	if sessions.Next != "" {
		sessions.Next = next("/run", query, sessions.Entries[pageSize-1].ID)
	}
	sessions.Live = ""
	_, name, _ := strings.Cut(run.ID, ":")
	orders := c.standing(v, func(o *view.Order) bool { return o.Run == name })
	return c.show(v, "run", "Run", oneRun{run, sessions, orders, orders.Lifts})
}

// pageBytes is how much record data a page has for people: some thousand
// operations are as many as anybody scrolls through.
const pageBytes = 256 << 10

// story is one session with a page of what it did.
type story struct {
	view.Session
	Who        workload.Workload
	Reads      bool // the visitor may read what was asked and answered
	Operations []*view.Operation
	Approvals  []view.Approval
	Orders     against
	After      string
	Unreadable bool
}

func (c *console) session(v *visit) error {
	id := v.r.PathValue("id")
	s, err := c.Store.Session(v.ctx(), v.sees, id)
	if err != nil {
		return err
	}
	page := story{Session: s, Who: s.Who()}
	reads := v.by.Sees(reader...)
	if page.Reads = reads.Sees(s.Resource, s.Repository); page.Reads {
		if err := c.Witness(v.ctx(), v.by, api.Act{Kind: "session.read", Subject: id}); err != nil {
			return err
		}
		records, err := c.Store.Records(v.ctx(), reads, id, v.r.URL.Query().Get("after"), pageBytes)
		if err != nil {
			return err
		}
		page.After = records.Next
		if page.Operations, err = view.Fold(records.Records); err != nil {
			page.Unreadable = true
		}
	}
	page.Approvals, err = c.Store.Approvals(v.ctx(), store.ApprovalFilter{Sees: v.by.Sees(decider...), Session: id, Limit: pageSize})
	if err != nil {
		return err
	}
	run := page.Who.Run().ID
	page.Orders = c.standing(v, func(o *view.Order) bool {
		return o.Session == id || o.Container != "" && strings.HasPrefix(page.Who.Kernel.Container, o.Container) || o.Run != "" && o.Run == run
	})
	return c.show(v, "session", "Session "+id, page)
}

// raw is a page of records as they are.
type raw struct {
	view.Session
	Records []rawRecord
	Next    string
}

type rawRecord struct {
	view.Record
	Pretty string
}

func (c *console) records(v *visit) error {
	id := v.r.PathValue("id")
	s, err := c.Store.Session(v.ctx(), v.sees, id)
	if err != nil {
		return err
	}
	if err := c.Witness(v.ctx(), v.by, api.Act{Kind: "session.read", Subject: id}); err != nil {
		return err
	}
	records, err := c.Store.Records(v.ctx(), v.sees, id, v.r.URL.Query().Get("after"), pageBytes)
	if err != nil {
		return err
	}
	page := raw{Session: s}
	for _, r := range records.Records {
		page.Records = append(page.Records, rawRecord{r, pretty(r)})
	}
	if records.Next != "" {
		page.Next = "/sessions/" + url.PathEscape(id) + "/records?after=" + url.QueryEscape(records.Next)
	}
	return c.show(v, "records", "Records of "+id, page)
}

func pretty(r view.Record) string {
	var out bytes.Buffer
	for _, part := range []json.RawMessage{r.Header, r.Body} {
		if len(part) > 0 && json.Indent(&out, part, "", "  ") != nil {
			out.WriteString("(not JSON)")
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// proved is what the collector itself finds of a session's evidence.
type proved struct {
	Session string
	Report  translog.Report
}

func (c *console) proof(v *visit) error {
	id := v.r.PathValue("id")
	report, err := c.Verify(v.ctx(), v.sees, id)
	if err != nil {
		return err
	}
	return c.show(v, "proof", "Proof of "+id, proved{id, report})
}

func (c *console) search(v *visit) error {
	query := v.r.URL.Query()
	words := query.Get("q")
	page := struct {
		Words string
		Asked bool
		view.Found
		More string
	}{Words: words, Asked: words != ""}
	if len(words) > 1000 {
		return &api.Refusal{Status: http.StatusBadRequest, Reason: "A search has at most 1000 bytes."}
	}
	if page.Asked {
		if err := c.Witness(v.ctx(), v.by, api.Act{Kind: "search", Subject: words}); err != nil {
			return err
		}
		before, _ := strconv.ParseInt(query.Get("before"), 10, 64) // else the first page
		var err error
		page.Found, err = c.Store.Search(v.ctx(), store.Query{Sees: v.sees, Words: words, Before: before, Limit: pageSize})
		if err != nil {
			return err
		}
		if page.Found.Next > 0 {
			page.More = next("/search", query, fmt.Sprint(page.Found.Next))
		}
	}
	return c.show(v, "search", "Search", page)
}
