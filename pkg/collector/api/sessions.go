package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// maxQuery bounds the words of a search, in bytes.
const maxQuery = 1000

func (s *server) sessions(r *http.Request, _ Caller, sees view.Scope) (any, error) {
	q := query{values: r.URL.Query()}
	filter := store.Filter{
		Sees:       sees,
		Limit:      q.limit(),
		Before:     q.text("before"),
		Run:        q.text("run"),
		Repository: q.text("repository"),
		Resource:   q.text("resource"),
		Protocol:   q.text("protocol"),
		Agent:      q.text("reported_by"),
		Since:      q.moment("since"),
		Until:      q.moment("until"),
		Denied:     q.flag("denied"),
		Held:       q.flag("held"),
		Open:       q.flag("open"),
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	return s.Store.Sessions(r.Context(), filter)
}

func (s *server) session(r *http.Request, _ Caller, sees view.Scope) (any, error) {
	return s.Store.Session(r.Context(), sees, r.PathValue("id"))
}

func (s *server) runs(r *http.Request, _ Caller, sees view.Scope) (any, error) {
	q := query{values: r.URL.Query()}
	before, n := q.text("before"), q.limit()
	if err := q.done(); err != nil {
		return nil, err
	}
	return s.Store.Runs(r.Context(), sees, before, n)
}

func (s *server) records(r *http.Request, by Caller, sees view.Scope) (any, error) {
	q := query{values: r.URL.Query()}
	after := q.text("after")
	if err := q.done(); err != nil {
		return nil, err
	}
	page, err := s.Store.Records(r.Context(), sees, r.PathValue("id"), after, store.PageBytes)
	if err != nil {
		return nil, err
	}
	return page, s.Witness(r.Context(), by, Act{"session.read", r.PathValue("id")})
}

func (s *server) search(r *http.Request, by Caller, sees view.Scope) (any, error) {
	q := query{values: r.URL.Query()}
	words, n, before := q.text("q"), q.limit(), q.number("before")
	if err := q.done(); err != nil {
		return nil, err
	}
	if words == "" || len(words) > maxQuery {
		return nil, bad("q must have 1 to %d bytes", maxQuery)
	}
	if err := s.Witness(r.Context(), by, Act{"search", words}); err != nil {
		return nil, err
	}
	return s.Store.Search(r.Context(), store.Query{Sees: sees, Words: words, Before: int64(before), Limit: n})
}

// query takes parameters off a URL; done refuses what was malformed and what
// nobody asked for, so that a misspelt filter never selects too much.
type query struct {
	values url.Values
	err    error
}

func (q *query) text(name string) string {
	value := q.values.Get(name)
	if len(q.values[name]) > 1 && q.err == nil {
		q.err = bad("%s is given twice", name)
	}
	q.values.Del(name)
	return value
}

func (q *query) limit() int {
	text := q.text("limit")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if (err != nil || n < 1 || n > store.MaxLimit) && q.err == nil {
		q.err = bad("limit must be a number from 1 to %d", store.MaxLimit)
	}
	return n
}

// number reads a cursor; 0 means none.
func (q *query) number(name string) uint64 {
	text := q.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil && q.err == nil {
		q.err = bad("%s must be a number", name)
	}
	return n
}

func (q *query) flag(name string) bool {
	switch text := q.text(name); text {
	case "", "false":
		return false
	case "true":
		return true
	}
	if q.err == nil {
		q.err = bad("%s must be true or false", name)
	}
	return false
}

// moment reads an RFC 3339 time, or a duration before now.
func (q *query) moment(name string) time.Time {
	text := q.text(name)
	if text == "" {
		return time.Time{}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago)
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil && q.err == nil {
		q.err = bad("%s must be a time like 2006-01-02T15:04:05Z or a duration like 1h30m", name)
	}
	return at
}

func (q *query) done() error {
	for name := range q.values {
		if q.err == nil {
			q.err = bad("unknown parameter %q", name)
		}
	}
	return q.err
}

func bad(format string, args ...any) error {
	return &Refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}
