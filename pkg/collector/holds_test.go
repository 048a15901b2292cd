package collector_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// holding asks about each line, and then sends it to a server that is dialled
// already, as a plug-in's session does.
type holding struct {
	dialled bool
	line    []byte
	op      protocol.Pending
}

func (h *holding) Feed(from protocol.Leg, unread []byte, to []protocol.Action) (int, []protocol.Action) {
	end := bytes.IndexByte(unread, '\n') + 1
	switch {
	case from == protocol.ServerLeg || end == 0:
		return 0, to
	case !h.dialled:
		return 0, append(to, protocol.Action{Kind: protocol.Dial})
	}
	h.line = append(h.line, unread[:end]...)
	h.op.Operation = operation.Operation{Kind: operation.Call, Text: operation.Text(h.line), Bytes: h.line, Parsed: true}
	return end, append(to, protocol.Action{Kind: protocol.Ask, Op: &h.op})
}

func (h *holding) Decided(answer protocol.Decision, err error, to []protocol.Action) []protocol.Action {
	if err != nil || answer.Effect != protocol.Allow {
		return append(to, protocol.Action{Kind: protocol.End, Err: err})
	}
	return append(to, protocol.Action{Kind: protocol.Write, Leg: protocol.ServerLeg, Bytes: h.line})
}

func (h *holding) Waiting(_ protocol.Waiting, to []protocol.Action) []protocol.Action { return to }

func (h *holding) Changed(_ protocol.Leg, change protocol.Change, to []protocol.Action) []protocol.Action {
	if change == protocol.Opened {
		h.dialled = true
		return to
	}
	return append(to, protocol.Action{Kind: protocol.End})
}

const holdCalls = `version: 1
resources:
  - name: shop-db
    protocol: postgres
    hosts: [192.0.2.1]
    port: 5432
    credentials: [{user: app, password_file: p}]
rules:
  - {name: ask, when: 'op.kind == "call"', effect: hold, approve: {groups: [dba], timeout: 10m, trigger: unknown-ok}}
default: deny
`

// holds opens n sessions through an agent's guard and pump, of which each waits
// for a person. reached tells when the bytes of one are at the server.
func (s *site) holds(a *agent, n int) (reached <-chan time.Time) {
	s.t.Helper()
	rules, err := policy.Parse("policy.yaml", []byte(holdCalls))
	check(s.t, err)
	desk := approval.NewDesk(approval.Config{
		Key: a.key, Send: a.bus.PublishApprovalRequest, Roster: func() *approval.Roster { return &s.roster }, Late: func(string, []byte) {},
		BreakGlass: func() []byte { return nil }, Preapprovals: func() [][]byte { return nil }, Log: s.log(),
	})
	check(s.t, a.bus.OnApproval(desk.Deliver))
	loop, err := protocol.NewLoop()
	check(s.t, err)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	check(s.t, err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	s.t.Cleanup(func() {
		stop()
		running.Wait()
		loop.Close()
		check(s.t, server.Close())
	})
	at := make(chan time.Time, n)
	for i := range n {
		jobs, client := s.pair(server)
		dial := func(context.Context) (net.Conn, error) { return net.Dial("tcp", server.Addr().String()) }
		one := &session.Session{
			ID: session.NewID(), Resource: "shop-db", Protocol: "postgres", Started: time.Now(),
			Workload: workload.Workload{Verified: map[string]any{"repository": "acme/shop"}},
		}
		trail, err := a.Session(one)
		check(s.t, err)
		conn := &protocol.Conn{Session: one, Client: client, Dial: dial, Log: zap.NewNop(), Loop: loop, Guard: guard.New(guard.Config{
			Session: one, Policy: func() *policy.Policy { return rules }, Trail: trail, Desk: desk, Agent: node, Cluster: "test",
			Hold: func() (func(), bool) { return func() {}, true }, Stopped: func() *approval.Order { return nil },
		})}
		running.Go(func() { _ = protocol.NewPump(conn, &holding{}, 64<<10).Run(ctx) })
		_, err = fmt.Fprintf(jobs, "ALTER TABLE t%d ADD c int\n", i)
		check(s.t, err)
		leg, err := server.Accept()
		check(s.t, err)
		running.Go(func() {
			if _, err := leg.Read(make([]byte, 1)); err == nil {
				at <- time.Now()
			}
			_, _ = leg.Close(), jobs.Close()
		})
	}
	return at
}

// pair is a connection with both its ends.
func (s *site) pair(l net.Listener) (dialled, accepted net.Conn) {
	s.t.Helper()
	dialled, err := net.Dial("tcp", l.Addr().String())
	check(s.t, err)
	accepted, err = l.Accept()
	check(s.t, err)
	return dialled, accepted
}

// With a thousand holds every page of the list comes, none is left out or
// repeated, and a vote releases at once: from the click in the browser to the
// bytes at the server.
func TestAThousandHoldsAtOnce(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	s.held(a, "ada", nothing) // so that the bus is there
	votes := make(chan time.Time, 64)
	go func() {
		for u := range a.updates {
			if len(u.Vote) > 0 {
				votes <- time.Now()
			}
		}
	}()
	const n = 1000
	reached := s.holds(a, n-1)
	list := func(before uint64) []view.Approval {
		return get[[]view.Approval](s, fmt.Sprintf("/v1/approvals?state=pending&limit=100&before=%d", before))
	}
	await(t, "all are asked for", func() bool { page := list(0); return len(page) > 0 && page[0].Number == n })
	seen := map[uint64]bool{}
	for before := uint64(n + 1); ; {
		page := list(before)
		for _, one := range page {
			seen[one.Number], before = true, one.Number
		}
		if len(page) < 100 {
			break
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d are listed", len(seen), n)
	}
	ada := s.browser("ada")
	ada.login("")
	token := ada.formToken("/approvals")
	var pages, told, releases []time.Duration
	for i := range 21 {
		began := time.Now()
		if status, _, _ := ada.get("/approvals"); status != http.StatusOK {
			t.Fatalf("page: %d", status)
		}
		pages = append(pages, time.Since(began))
		began = time.Now()
		form := url.Values{"token": {token}, "decision": {"approve"}, "from": {"list"}}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			ada.post(fmt.Sprintf("/approvals/%d/vote", 100+i), form)
		}()
		select {
		case at := <-reached:
			releases = append(releases, at.Sub(began))
			told = append(told, (<-votes).Sub(began))
		case <-time.After(30 * time.Second):
			t.Fatal("nothing reaches the server")
		}
		<-answered
	}
	for _, all := range [][]time.Duration{pages, told, releases} {
		slices.Sort(all)
	}
	t.Logf("with %d holds: page %v, click to the agent %v, click to the server %v (medians of %d)", n, pages[10], told[10], releases[10], len(pages))
	if releases[10] > time.Second {
		t.Errorf("from the click to the server it takes %v", releases[10])
	}
}
