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

func (s *server) sessions(r *http.Request, _ Caller) (any, error) {
	q := query{values: r.URL.Query()}
	filter := store.Filter{
		Limit:    q.limit(),
		Resource: q.text("resource"),
		Protocol: q.text("protocol"),
		Agent:    q.text("reported_by"),
		Since:    q.moment("since"),
		Until:    q.moment("until"),
		Denied:   q.flag("denied"),
		Held:     q.flag("held"),
		Open:     q.flag("open"),
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	return s.Store.Sessions(r.Context(), filter)
}

func (s *server) session(r *http.Request, _ Caller) (any, error) {
	return s.Store.Session(r.Context(), r.PathValue("id"))
}

func (s *server) records(r *http.Request, _ Caller) (any, error) {
	q := query{values: r.URL.Query()}
	after := q.text("after")
	if err := q.done(); err != nil {
		return nil, err
	}
	return s.Store.Records(r.Context(), r.PathValue("id"), after)
}

// found is the answer of a search. Lag is the number of stored batches that
// the index does not hold yet.
type found struct {
	Hits []view.Hit `json:"hits"`
	Lag  int64      `json:"lag"`
}

func (s *server) search(r *http.Request, _ Caller) (any, error) {
	q := query{values: r.URL.Query()}
	words, n := q.text("q"), q.limit()
	if err := q.done(); err != nil {
		return nil, err
	}
	if words == "" || len(words) > maxQuery {
		return nil, bad("q must have 1 to %d bytes", maxQuery)
	}
	hits, lag, err := s.Store.Search(r.Context(), words, n)
	return found{hits, lag}, err
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
