package web

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// killLasts is how long a kill is sent to agents that were away.
const killLasts = time.Hour

// spans are how long a quarantine can last.
var spans = []string{"1h", "24h", "168h", "720h"}

// StopChoice is whom a person wants to be stopped, and for how long.
type StopChoice struct {
	Kind                    approval.OrderKind
	Session, Container, Run string // one of them
	Reason                  string
	Lasts                   time.Duration
	Proven                  time.Time // when the person last proved who they are
}

// stopping is the page that asks whether somebody is to be stopped: nothing is
// before the form on it is sent.
type stopping struct {
	StopChoice
	Action  string // the address of this page
	Back    string
	Open    uint64 // sessions that it ends, as far as they are seen
	May     bool
	Command string // does the same with the person's own key
	Fresh   bool
	Again   string
	Token   string
}

// Spans lists how long a quarantine can last, for the template.
func (stopping) Spans() []string { return spans }

// aim reads whom a request is about. What the visitor may not see cannot be
// stopped, and a container may be anybody's.
func (c *console) aim(v *visit) (s stopping, err error) {
	query := v.r.URL.Query()
	session, container, run := query.Get("session"), query.Get("container"), query.Get("run")
	s = stopping{Action: "/stop?" + query.Encode(), Token: v.token(), Fresh: v.fresh(), May: c.MayOrder(v.by)}
	s.Kind = approval.Quarantine
	known, name, _ := strings.Cut(run, ":")
	switch {
	case session != "":
		s.Kind, s.Session, s.Back = approval.Kill, session, "/sessions/"+url.PathEscape(session)
		s.Command = "sluice kill " + session
		found, err := c.Store.Session(v.ctx(), v.sees, session)
		if err != nil {
			return s, err
		}
		if found.Ended != nil {
			return s, &api.Refusal{Status: http.StatusConflict, Reason: "The session has ended."}
		}
	case known == "verified" || known == "claimed":
		s.Run, s.Back = name, "/run?run="+url.QueryEscape(run)
		s.Command = "sluice quarantine " + name
		found, err := c.Store.Run(v.ctx(), v.sees, run)
		if err != nil {
			return s, err
		}
		s.Open = found.Open
	case container != "" || known == "container":
		s.Container, s.Back = cmp.Or(container, name), "/sessions"
		s.Command = "sluice quarantine " + s.Container
		if !v.sees.All() {
			return s, &api.Refusal{Status: http.StatusForbidden, Reason: "A container may be anybody's: this is for those whose roles have no limits."}
		}
	default:
		return s, store.ErrNotFound
	}
	s.Again = "/login?" + url.Values{"fresh": {"1"}, "next": {s.Action}}.Encode()
	return s, nil
}

func (c *console) confirmStop(v *visit) error {
	s, err := c.aim(v)
	if err != nil {
		return err
	}
	return c.show(v, "stop", "Stop", s)
}

func (c *console) stop(v *visit) error {
	s, err := c.aim(v)
	if err != nil {
		return err
	}
	if !s.Fresh {
		http.Redirect(v.w, v.r, s.Action, http.StatusSeeOther) // which asks for a login
		return nil
	}
	choice := s.StopChoice
	choice.Reason, choice.Proven, choice.Lasts = v.r.PostFormValue("reason"), v.login.Proven, killLasts
	if choice.Kind == approval.Quarantine {
		if choice.Lasts, err = time.ParseDuration(v.r.PostFormValue("lasts")); err != nil {
			return &api.Refusal{Status: http.StatusBadRequest, Reason: "Say how long it lasts."}
		}
	}
	if err := c.Order(v.ctx(), v.by, v.sees, choice); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, s.Back, http.StatusSeeOther)
	return nil
}

// standing returns the orders in force that are against a session: none without
// a roster.
func (c *console) standing(v *visit, s *story) []view.Order {
	all, _ := c.Orders(v.ctx())
	run := s.Who.Run().ID
	var against []view.Order
	for _, o := range all {
		container := o.Container != "" && strings.HasPrefix(s.Who.Kernel.Container, o.Container)
		if o.Session == s.ID || container || o.Run != "" && o.Run == run {
			against = append(against, o)
		}
	}
	return against
}
