package web

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// pageTime bounds the work for one page.
const pageTime = 20 * time.Second

// visit is one request of somebody who is logged in.
type visit struct {
	w      http.ResponseWriter
	r      *http.Request
	by     api.Caller
	sees   view.Scope // by the page's roles
	login  store.Login
	cookie string
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// token is what forms carry besides the cookie: derived from it, so that it
// changes at each login and needs no place.
func (v *visit) token() string {
	mac := hmac.New(sha256.New, []byte(v.cookie))
	mac.Write([]byte("sluice form"))
	return hex.EncodeToString(mac.Sum(nil))
}

// visited serves a page to people who are logged in and have one of its roles.
func (c *console) visited(p page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(p.pattern, "/live") {
			ctx, cancel := context.WithTimeout(r.Context(), pageTime)
			defer cancel()
			r = r.WithContext(ctx)
		}
		v, err := c.who(w, r)
		if errors.Is(err, store.ErrNotFound) {
			c.welcome(w, r)
			return
		}
		if err != nil {
			c.fail(w, err)
			return
		}
		if v.sees = v.by.Sees(p.roles...); v.sees.Nothing() {
			c.refuse(v, &api.Refusal{Status: http.StatusForbidden, Reason: "Your roles do not cover this page."})
			return
		}
		if r.Method == http.MethodPost && !hmac.Equal([]byte(r.PostFormValue("token")), []byte(v.token())) {
			c.refuse(v, &api.Refusal{Status: http.StatusForbidden, Reason: "The form is too old. Load the page again."})
			return
		}
		if err := p.show(v); err != nil {
			c.refuse(v, err)
		}
	})
}

// who finds the login that a request belongs to; none is store.ErrNotFound.
func (c *console) who(w http.ResponseWriter, r *http.Request) (*visit, error) {
	cookie, err := r.Cookie(c.cookieName())
	if err != nil {
		return nil, store.ErrNotFound
	}
	login, err := c.Store.Login(r.Context(), hashOf(cookie.Value), idle, life)
	if err != nil {
		return nil, err
	}
	v := &visit{w: w, r: r, login: login, cookie: cookie.Value}
	var person person
	if err := json.Unmarshal(login.Person, &person); err != nil {
		return nil, err
	}
	v.by = c.Caller(person.identity())
	v.by.From, _, _ = net.SplitHostPort(r.RemoteAddr)
	return v, nil
}

// frame is what every page shows around its own.
type frame struct {
	Page    string // of the navigation
	Title   string
	Me      string
	Roles   []api.Role
	Token   string
	Pending int // approvals that wait, at most manyPending
	Search  bool
	Decides bool
	Data    any
}

// manyPending is where the navigation stops counting.
const manyPending = 100

// show renders a page.
func (c *console) show(v *visit, name, title string, data any) error {
	f := frame{
		Page: name, Title: title, Me: v.by.Name, Roles: v.by.Roles(), Token: v.token(), Data: data,
		Search: !v.by.Sees(reader...).Nothing(), Decides: !v.by.Sees(decider...).Nothing(),
	}
	waiting, err := c.Store.Approvals(v.ctx(), store.ApprovalFilter{Sees: v.by.Sees(decider...), State: "pending", Limit: manyPending})
	if err != nil {
		return err
	}
	f.Pending = len(waiting)
	return c.write(v.w, http.StatusOK, name, f)
}

func (c *console) write(w http.ResponseWriter, status int, name string, f frame) error {
	var out bytes.Buffer
	if err := templates[name].ExecuteTemplate(&out, "base", f); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write(out.Bytes()); err != nil {
		c.Log.Debug("Reader went away", zap.Error(err))
	}
	return nil
}

// refuse shows an error to somebody who is logged in.
func (c *console) refuse(v *visit, err error) { c.fail(v.w, err) }

// fail shows what a reader may know of an error. Anything else is logged.
func (c *console) fail(w http.ResponseWriter, err error) {
	var refusal *api.Refusal
	status, reason := http.StatusInternalServerError, "Something went wrong here. It is in the collector's log."
	switch {
	case errors.As(err, &refusal):
		status, reason = refusal.Status, refusal.Reason
	case errors.Is(err, store.ErrNotFound):
		status, reason = http.StatusNotFound, "There is no such thing, or your roles do not cover it."
	case errors.Is(err, store.ErrSettled):
		status, reason = http.StatusConflict, "This was decided already."
	case errors.Is(err, context.DeadlineExceeded):
		status, reason = http.StatusServiceUnavailable, "This took too long. Ask for less."
	case errors.Is(err, context.Canceled):
		return
	default:
		c.Log.Error("Page failed", zap.Error(err))
	}
	if err := c.write(w, status, "error", frame{Title: http.StatusText(status), Data: reason}); err != nil {
		c.Log.Error("Page failed", zap.Error(err))
	}
}
