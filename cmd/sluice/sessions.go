package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/workload"
)

func newSessions(e *env) *cobra.Command {
	var limit int
	var denied, held, open bool
	text := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List sessions, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if limit > 0 {
				query.Set("limit", strconv.Itoa(limit))
			}
			for name, on := range map[string]bool{"denied": denied, "held": held, "open": open} {
				if on {
					query.Set(name, "true")
				}
			}
			for name, value := range text {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			return e.sessions(cmd, query)
		},
	}
	set := cmd.Flags()
	set.IntVar(&limit, "limit", 20, "at most this many")
	set.BoolVar(&denied, "denied", false, "with a denied operation")
	set.BoolVar(&held, "held", false, "with a held operation")
	set.BoolVar(&open, "open", false, "that have not ended")
	text["resource"] = set.String("resource", "", "of this resource")
	text["protocol"] = set.String("protocol", "", "of this protocol")
	text["since"] = set.String("since", "", "started since a time (RFC 3339) or duration ago (1h30m)")
	text["until"] = set.String("until", "", "started before it")
	text["reported_by"] = set.String("agent", "", "reported by this agent")
	return cmd
}

func (e *env) sessions(cmd *cobra.Command, query url.Values) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	var sessions []view.Session
	if err := c.get(cmd.Context(), "/v1/sessions", query, &sessions); err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(sessions)
	}
	rows := make([][]string, len(sessions))
	for i, s := range sessions {
		rows[i] = []string{
			s.ID, clock(s.Started), duration(&s), s.Resource, s.Assurance, who(&s),
			fmt.Sprint(s.Operations), fmt.Sprint(s.Denied), fmt.Sprint(s.Held), fmt.Sprint(s.Masked),
		}
	}
	return e.table([]string{"SESSION", "STARTED", "LASTED", "RESOURCE", "LEVEL", "WHO", "OPS", "DENIED", "HELD", "MASKED"}, rows)
}

func duration(s *view.Session) string {
	if s.Ended == nil {
		return "open"
	}
	return s.Ended.Sub(s.Started).Round(1e6).String()
}

// who names a session's workload in a few words.
func who(s *view.Session) string {
	w := s.Who()
	name := view.Name(&w)
	if w.Agent.Kind == workload.AgentAI {
		name += " (AI: " + w.Agent.Product + ")"
	}
	return name
}
