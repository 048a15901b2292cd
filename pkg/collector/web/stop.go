package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
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

// StopChoice is whom a person wants to be stopped, and for how long, or what
// they want to be lifted.
type StopChoice struct {
	Kind                    approval.OrderKind
	Session, Container, Run string // one of these,
	Lifts                   string // or the quarantine that is lifted
	Reason                  string
	Lasts                   time.Duration
	Proven                  time.Time // when the person last proved who they are
}

// stopping is the page that asks whether somebody is to be stopped, or to go
// on: nothing happens before the form on it is sent.
type stopping struct {
	StopChoice
	Action  string // the address of this page
	Back    string
	Open    uint64     // sessions that it ends, as far as they are seen
	Order   view.Order // that is lifted
	May     bool
	Command string // does the same with the person's own key
	Fresh   bool
	Again   string
	Token   string
}

// Kills tells the template that the page is about a kill.
func (s *stopping) Kills() bool { return s.Kind == approval.Kill }

// Quarantines tells it that it is about a quarantine; else one is lifted.
func (s *stopping) Quarantines() bool { return s.Kind == approval.Quarantine }

// Spans lists how long a quarantine can last, for the template.
func (*stopping) Spans() []string { return spans }

// aim reads whom a request is about.
func (c *console) aim(v *visit) (*stopping, error) {
	query := v.r.URL.Query()
	s := &stopping{Action: "/stop?" + query.Encode(), Token: v.token(), Fresh: v.fresh(), May: c.MayOrder(v.by)}
	s.Again = "/login?" + url.Values{"fresh": {"1"}, "next": {s.Action}}.Encode()
	if id := query.Get("lift"); id != "" {
		return s, c.aimLift(v, s, id)
	}
	return s, c.aimStop(v, s, query.Get("session"), query.Get("container"), query.Get("run"))
}

// aimLift looks for a quarantine that the visitor could have ordered.
func (c *console) aimLift(v *visit, s *stopping, id string) error {
	standing, err := c.Orders(v.ctx())
	if err != nil {
		return err
	}
	at := slices.IndexFunc(standing, func(o view.Order) bool {
		return o.ID == id && o.Kind == string(approval.Quarantine) && o.LiftedBy == ""
	})
	if at < 0 {
		return store.ErrNotFound
	}
	s.Order = standing[at]
	s.Kind, s.Lifts = approval.Release, id
	s.Command, s.May, s.Back = "sluice quarantine --lift "+id, s.May && s.Order.Console, "/agents"
	if v.sees.All() {
		return nil
	}
	if s.Order.Run == "" {
		return store.ErrNotFound
	}
	run := "verified:" + s.Order.Run
	s.Back = "/run?run=" + url.QueryEscape(run)
	_, err = c.Store.Run(v.ctx(), v.sees, run)
	return err
}

// aimStop looks for whom to stop. What the visitor may not see cannot be
// stopped, and a container may be anybody's.
func (c *console) aimStop(v *visit, s *stopping, session, container, run string) error {
	s.Kind = approval.Quarantine
	known, name, _ := strings.Cut(run, ":")
	switch {
	case session != "":
		s.Kind, s.Session, s.Back = approval.Kill, session, "/sessions/"+url.PathEscape(session)
		s.Command = "sluice kill " + session
		found, err := c.Store.Session(v.ctx(), v.sees, session)
		if err != nil {
			return err
		}
		if found.Ended != nil {
			return &api.Refusal{Status: http.StatusConflict, Reason: "The session has ended."}
		}
	case known == "verified" || known == "claimed":
		s.Run, s.Back = name, "/run?run="+url.QueryEscape(run)
		s.Command = "sluice quarantine " + name
		found, err := c.Store.Run(v.ctx(), v.sees, run)
		if err != nil {
			return err
		}
		s.Open = found.Open
	case container != "" || known == "container":
		s.Container, s.Back = cmp.Or(container, name), "/sessions"
		s.Command = "sluice quarantine " + s.Container
		if !v.sees.All() {
			return &api.Refusal{Status: http.StatusForbidden, Reason: "A container may be anybody's: this is for those whose roles have no limits."}
		}
	default:
		return store.ErrNotFound
	}
	return nil
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
	switch choice.Kind {
	case approval.Release:
		choice.Lasts = approval.MaxOrder // outlasts any quarantine
	case approval.Quarantine:
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

// against is a list of orders as a page shows it.
type against struct {
	Orders []view.Order
	Lifts  bool // the visitor may ask for one to be lifted
}

// standing returns the orders in force that want a thing: none without a roster.
func (c *console) standing(v *visit, want func(o *view.Order) bool) against {
	all, _ := c.Orders(v.ctx())
	return against{slices.DeleteFunc(all, func(o view.Order) bool { return !want(&o) }), !v.by.Sees(reader...).Nothing()}
}
