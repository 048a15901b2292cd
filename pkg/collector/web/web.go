// Package web is the console: pages for the people behind Sluice, served by
// the collector.
//
// Pages are rendered here and work without script; script adds keys, live
// updates, replay and the choice of a theme. All that a page loads comes from
// this server, and the content policy forbids everything else, inline script
// and style included. What a job wrote is text and nothing else: templates
// escape it, and view.Printable takes away what could deceive a reader.
//
// People log in by OpenID Connect; what they see is what their roles cover,
// asked anew for each page and each live update. Reading what a job asked or
// got is put on the record first. The package makes no vote and no order: it
// hands on what a person chose, with the time of their last login, and the
// collector signs.
package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/simulate"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Choice is a person's answer to a request.
type Choice struct {
	Number   uint64
	Decision approval.Decision
	Scope    approval.Scope
	Lasts    time.Duration // of a scope beyond once
	Reason   string
	Proven   time.Time // when the person last proved who they are
}

// Config is what the console shows. All fields are required but People.
type Config struct {
	Store  *store.Store
	People *identity.People // nil: nobody can log in
	URL    string           // where people open the console, without a slash at the end
	// Caller gives a person their roles.
	Caller func(identity.Person) api.Caller
	// Vote signs and casts a vote. One that does not count is an *api.Refusal.
	Vote func(ctx context.Context, by api.Caller, choice Choice) error
	// Open verifies what an agent asks.
	Open func(a view.Approval) (approval.Request, error)
	// Order signs and gives an order to stop somebody who is seen. One that
	// agents would not obey is an *api.Refusal.
	Order func(ctx context.Context, by api.Caller, sees view.Scope, choice StopChoice) error
	// MayOrder reports whether the roster lets the console order in a caller's
	// name.
	MayOrder func(by api.Caller) bool
	// Orders lists the orders in force.
	Orders func(ctx context.Context) ([]view.Order, error)
	// Published lists what was published for agents, newest first, and Policy
	// returns one of it with its text.
	Published func(ctx context.Context) ([]view.Publication, error)
	Policy    func(ctx context.Context, sequence uint64) (approval.Published, error)
	// Approver returns a caller's name in the roster of approvers, "" for none.
	Approver func(by api.Caller) string
	Agents   func(ctx context.Context) ([]view.Chain, error)
	// Reader makes operations again when a policy is simulated.
	Reader simulate.Reader
	// Verify proves one session with the keys that the collector keeps.
	Verify  func(ctx context.Context, sees view.Scope, session string) (translog.Report, error)
	Witness func(ctx context.Context, by api.Caller, act api.Act) error
	Limiter *api.Limiter
	// Stopping is closed when the collector stops; live updates end then.
	Stopping <-chan struct{}
	Log      *zap.Logger
}

// console is Config with methods.
type console struct {
	Config
	secure     bool          // the console is reached by TLS
	simulating chan struct{} // holds one while a policy is simulated
}

// seer are the roles that see sessions, runs and the fleet; reader those that
// read what was asked and answered; decider those that see approvals.
var (
	seer    = []api.Role{api.Viewer, api.Responder, api.Approver, api.Admin}
	reader  = []api.Role{api.Responder, api.Admin}
	decider = []api.Role{api.Approver, api.Responder, api.Admin}
)

// page is one pattern of New: who may see it, and what shows it.
type page struct {
	pattern string
	roles   []api.Role
	show    func(*visit) error
}

// pages lists everything that needs a login.
func (c *console) pages() []page {
	return []page{
		{"GET /{$}", seer, c.home},
		{"GET /approvals", decider, c.approvals},
		{"GET /approvals/live", decider, c.live("approvals", c.approvalsPage)},
		{"GET /approvals/{number}", decider, c.approval},
		{"POST /approvals/{number}/vote", []api.Role{api.Approver}, c.vote},
		{"GET /runs", seer, c.runs},
		{"GET /run", seer, c.run},
		{"GET /sessions", seer, c.sessions},
		{"GET /sessions/live", seer, c.live("sessions", c.sessionsPage)},
		{"GET /sessions/{id}", seer, c.session},
		{"GET /sessions/{id}/records", reader, c.records},
		{"GET /sessions/{id}/proof", seer, c.proof},
		{"GET /sessions/{id}/cast/{operation}", reader, c.cast},
		{"GET /stop", reader, c.confirmStop},
		{"POST /stop", reader, c.stop},
		{"GET /search", reader, c.search},
		{"GET /agents", seer, c.agents},
		{"GET /policy", seer, c.policy},
		{"POST /policy", reader, c.simulate},
		{"GET /verification", seer, c.verification},
		{"POST /logout", seer, c.logout},
	}
}

// New returns the console.
func New(cfg Config) http.Handler {
	c := &console{cfg, strings.HasPrefix(cfg.URL, "https://"), make(chan struct{}, 1)}
	mux := http.NewServeMux()
	for _, p := range c.pages() {
		mux.Handle(p.pattern, c.visited(p))
	}
	mux.HandleFunc("GET /login", c.beginLogin)
	mux.HandleFunc("GET /login/callback", c.finishLogin)
	mux.HandleFunc("GET /assets/{version}/{name}", serveAsset)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		c.fail(w, &api.Refusal{Status: http.StatusNotFound, Reason: "There is no such page."})
	})
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.fail(w, &api.Refusal{Status: http.StatusForbidden, Reason: "The request comes from another site."})
	}))
	return c.guard(protection.Handler(mux))
}

// contentPolicy allows what this server serves and nothing else. The player of
// terminals runs WebAssembly.
const contentPolicy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; " +
	"font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guard sets what holds for every answer, and keeps those waiting who ask or
// fail too much.
func (c *console) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if c.secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if wait := c.Limiter.Allow(r); wait > 0 {
			h.Set("Retry-After", "30")
			c.fail(w, &api.Refusal{Status: http.StatusTooManyRequests, Reason: "There were too many requests or refused logins from your address. Wait a little."})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// maxForm bounds what a browser may send, in bytes.
const maxForm = 1 << 20
