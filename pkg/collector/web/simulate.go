package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/simulate"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/record"
)

// Bounds of one simulation. What is beyond them is not asked about, and the
// page says so; sluice policy simulate has no bounds.
const (
	maxPolicy     = 256 << 10 // bytes of the file
	maxSimulated  = 2000      // sessions, the newest
	simulateTime  = 12 * time.Second
	simulateBatch = 100
)

// simulation is what a policy would decide otherwise.
type simulation struct {
	rules
	Text     string
	Since    string
	Hash     string   // of the policy that was asked; empty while none was
	Problems []string // what is wrong with the file
	Tally    simulate.Tally
	Sessions int
	Cut      bool // not all sessions were asked about
	Unread   int  // sessions whose records cannot be read
	Reads    bool
	Token    string
}

// Spans lists how far back a simulation can look, for the template.
func (simulation) Spans() []string { return []string{"1h", "24h", "168h", "720h"} }

// simulate asks a policy about what the visitor may read. One runs at a time:
// it is work for whoever can wait.
func (c *console) simulate(v *visit) error {
	page, err := c.policyPage(v)
	if err != nil {
		return err
	}
	if page.Text, err = uploaded(v.r); err != nil {
		return err
	}
	page.Since = v.r.PostFormValue("since")
	ago, err := time.ParseDuration(page.Since)
	if err != nil || ago <= 0 {
		return &api.Refusal{Status: http.StatusBadRequest, Reason: "The time to look back is written like 30m or 24h."}
	}
	asked, err := policy.Parse("policy.yaml", []byte(page.Text))
	if err != nil {
		page.Problems = strings.Split(err.Error(), "\n")
		return c.show(v, "policy", "Policy", page)
	}
	if err := c.Witness(v.ctx(), v.by, api.Act{Kind: "policy.simulate", Subject: asked.Hash()}); err != nil {
		return err
	}
	select {
	case c.simulating <- struct{}{}:
		defer func() { <-c.simulating }()
	default:
		return &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "Another simulation runs. Try again in a moment."}
	}
	page.Hash = asked.Hash()
	if err := c.ask(v, asked, time.Now().Add(-ago), page); err != nil {
		return err
	}
	return c.show(v, "policy", "Policy", page)
}

// uploaded is the policy of a form: the file, else the text.
func uploaded(r *http.Request) (string, error) {
	text := r.PostFormValue("policy")
	if file, _, err := r.FormFile("file"); err == nil {
		defer file.Close() //nolint:errcheck // only read
		data, err := io.ReadAll(io.LimitReader(file, maxPolicy+1))
		if err != nil {
			return "", err
		}
		if len(data) > 0 {
			text = string(data)
		}
	}
	if len(text) > maxPolicy {
		return "", &api.Refusal{Status: http.StatusRequestEntityTooLarge, Reason: "A policy has at most 256 KiB."}
	}
	return strings.ReplaceAll(text, "\r\n", "\n"), nil // as forms send lines
}

// ask goes through the sessions that the visitor may read, the newest first.
func (c *console) ask(v *visit, p *policy.Policy, since time.Time, page *simulation) error {
	ctx, cancel := context.WithTimeout(v.ctx(), simulateTime)
	defer cancel()
	f := store.Filter{Sees: v.sees, Since: since, Limit: simulateBatch}
	for {
		sessions, err := c.Store.Sessions(ctx, f)
		for i := range sessions {
			if page.Sessions == maxSimulated {
				page.Cut = true
				return nil
			}
			if err = c.askSession(ctx, v, p, sessions[i].ID, page); err != nil {
				break
			}
			page.Sessions++
		}
		if errors.Is(err, context.DeadlineExceeded) && v.ctx().Err() == nil {
			page.Cut = true
			return nil
		}
		if err != nil || len(sessions) < simulateBatch {
			return err
		}
		f.Before = sessions[len(sessions)-1].ID
	}
}

func (c *console) askSession(ctx context.Context, v *visit, p *policy.Policy, id string, page *simulation) error {
	asked := func(h *record.Header) bool { return h.Opened != nil || h.Intent != nil } // answers are not read into memory
	records, err := c.recordsOf(ctx, v, id, asked)
	if err != nil {
		return err
	}
	err = c.Reader.Each(records, func(was simulate.Past) {
		change, counts := simulate.By(p, was)
		page.Tally.Add(was, change, counts)
	})
	if err != nil {
		page.Unread++ // a finding says what is wrong with them
	}
	return ctx.Err()
}
