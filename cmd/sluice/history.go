package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/simulate"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/shelltext"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// pageOfSessions is how many sessions are asked for at a time.
const pageOfSessions = 500

// history reads recorded operations back.
type history struct {
	client *client
	reader simulate.Reader
}

func newHistory(c *client) history {
	return history{c, simulate.Reader{
		Read: map[string]func([]byte) ([]operation.SQLStatement, bool){
			"postgres": sqltext.New().Again, "mysql": mysqltext.New().Again,
		},
		Commands: shelltext.Read,
	}}
}

// since calls visit for each operation of the sessions that started since a
// moment, the newest session first.
func (h *history) since(ctx context.Context, since string, visit func(simulate.Past)) error {
	query := url.Values{"limit": {fmt.Sprint(pageOfSessions)}, "since": {since}}
	for {
		var page []view.Session
		if err := h.client.get(ctx, "/v1/sessions", query, &page); err != nil {
			return err
		}
		for _, s := range page {
			if err := h.session(ctx, s.ID, visit); err != nil {
				return err
			}
		}
		if len(page) < pageOfSessions {
			return nil
		}
		query.Set("until", page[len(page)-1].Started.Format(time.RFC3339Nano))
	}
}

// session calls visit for each operation of one session.
func (h *history) session(ctx context.Context, id string, visit func(simulate.Past)) error {
	records, err := h.client.records(ctx, id)
	if err != nil {
		return err
	}
	if err := h.reader.Each(records, visit); err != nil {
		return fmt.Errorf("session %s: %w", id, err)
	}
	return nil
}
