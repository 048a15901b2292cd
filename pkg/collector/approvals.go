package collector

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// longestHold bounds how far ahead the deadline of a request may lie.
const longestHold = 7 * 24 * time.Hour

// approvals carries requests to people and votes to agents. It can neither
// make nor change a vote: agents believe only what an approver's key signed.
type approvals struct {
	store   *store.Store
	agents  *registry
	cluster string
	roster  *rosterFile
	send    func(agent, id string, message []byte) error
	witness func(context.Context, api.Caller, api.Act) error
	log     *zap.Logger
}

// request takes in what an agent asks. What is not the agent's own is put in
// quarantine; the same request again tells the agent again what it may have
// missed.
func (a *approvals) request(ctx context.Context, m bus.RequestMessage) error {
	r, err := a.open(m)
	if err != nil {
		a.log.Warn("An approval request is not believed", zap.String("agent", m.Agent), zap.Error(err))
		_, err = a.store.Quarantine(ctx, m.Agent, "approval request: "+err.Error(), m.Signed, nil)
		return err
	}
	number, added, err := a.store.AddApproval(ctx, view.Approval{
		ID: r.ID, Agent: r.Agent, Session: r.Session, Operation: r.Operation, Resource: r.Resource, Repository: r.Requester.Repository,
		Rule: r.Rule, Reason: r.Reason, Text: r.Text, Requested: r.Created, NotAfter: r.NotAfter, Request: m.Signed,
	})
	if errors.Is(err, store.ErrTooMany) || errors.Is(err, store.ErrOtherRequest) {
		a.log.Warn("An approval request is refused", zap.String("agent", m.Agent), zap.Error(err))
		return nil
	}
	if err != nil {
		return err
	}
	if added {
		a.log.Info("An approval is asked for", zap.Uint64("number", number), zap.String("agent", r.Agent), zap.String("rule", r.Rule))
	}
	kept, err := a.store.Approval(ctx, view.Everything(), number)
	if err != nil {
		return err
	}
	a.tell(kept)
	return nil
}

// open returns a request that the agent itself signed, about itself.
func (a *approvals) open(m bus.RequestMessage) (approval.Request, error) {
	agent, ok := a.agents.all()[m.Agent]
	if !ok {
		return approval.Request{}, errors.New("no such agent is enrolled")
	}
	r, err := approval.OpenRequest(m.Signed, agent.public)
	switch {
	case err != nil:
		return r, err
	case r.Agent != m.Agent || r.Cluster != a.cluster || r.ID != m.ID:
		return r, errors.New("the request is another one than its subject says")
	case r.NotAfter.After(time.Now().Add(longestHold)):
		return r, fmt.Errorf("the deadline is further away than %v", longestHold)
	}
	return r, nil
}

// tell sends an agent the number and the votes of its approval. What is lost
// on the way is asked for again.
func (a *approvals) tell(v view.Approval) {
	messages, err := updates(v)
	for _, m := range messages {
		if err == nil {
			err = a.send(v.Agent, v.ID, m)
		}
	}
	if err != nil {
		a.log.Warn("An agent was not told about its approval", zap.String("agent", v.Agent), zap.Error(err))
	}
}

func updates(v view.Approval) ([][]byte, error) {
	all := []approval.Update{{Number: v.Number}}
	for _, vote := range v.Votes {
		all = append(all, approval.Update{Vote: vote.Signed})
	}
	messages := make([][]byte, len(all))
	for i, u := range all {
		var err error
		if messages[i], err = approval.EncodeUpdate(u); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// decisions returns all that an agent may have missed.
func (a *approvals) decisions(ctx context.Context, agent string) ([]bus.Decision, error) {
	open, err := a.store.OpenApprovals(ctx, agent)
	if err != nil {
		return nil, err
	}
	decisions := []bus.Decision{}
	for _, v := range open {
		messages, err := updates(v)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			decisions = append(decisions, bus.Decision{ID: v.ID, Message: m})
		}
	}
	return decisions, nil
}

// vote checks a signed vote, keeps it and tells the agent. The check is so
// that the approver learns at once what is wrong; the agent checks again.
func (a *approvals) vote(ctx context.Context, by api.Caller, number uint64, signed []byte) (view.Approval, error) {
	roster, err := a.roster.current()
	if err != nil {
		a.log.Error("The roster of approvers cannot be used", zap.Error(err))
		return view.Approval{}, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "there is no valid roster of approvers"}
	}
	asked, err := a.store.Approval(ctx, view.Everything(), number)
	if err != nil {
		return view.Approval{}, err
	}
	agent, ok := a.agents.all()[asked.Agent]
	if !ok {
		return view.Approval{}, &api.Refusal{Status: http.StatusConflict, Reason: "the agent is no longer enrolled"}
	}
	vote, err := approval.Check(asked.Request, signed, agent.public, roster, time.Now())
	if err != nil {
		return view.Approval{}, refuseVote(err)
	}
	if person, ok := roster.Holder(approval.Account{Issuer: by.Issuer, Subject: by.Subject}); !ok || person.Name != vote.Approver {
		return view.Approval{}, &api.Refusal{Status: http.StatusForbidden, Reason: fmt.Sprintf("%s is not %s of the roster", by.Name, vote.Approver)}
	}
	kept := view.Vote{Approver: vote.Approver, Decision: string(vote.Decision), Reason: vote.Reason, At: time.Now(), Signed: signed}
	err = a.store.AddVote(ctx, number, kept, func(v view.Approval) (string, error) {
		return count(v, signed, agent.public, roster)
	})
	if err != nil {
		return view.Approval{}, err
	}
	a.log.Info("A vote was cast", zap.Uint64("number", number), zap.String("approver", vote.Approver), zap.String("decision", string(vote.Decision)))
	decided, err := a.store.Approval(ctx, view.Everything(), number)
	if err != nil {
		return view.Approval{}, err
	}
	a.tell(decided)
	// The vote is on the record of the agent, too; what waits does not wait for this.
	return decided, a.witness(ctx, by, api.Act{Kind: "vote." + string(vote.Decision), Subject: strconv.FormatUint(number, 10)})
}

// approver returns a caller's name in the roster, "" for none.
func (a *approvals) approver(by api.Caller) string {
	roster, err := a.roster.current()
	if err != nil {
		return ""
	}
	person, _ := roster.Holder(approval.Account{Issuer: by.Issuer, Subject: by.Subject})
	return person.Name
}

// count returns where an approval stands with one more vote.
func count(v view.Approval, signed []byte, agent ed25519.PublicKey, roster *approval.Roster) (string, error) {
	ballot, err := approval.NewBallot(v.Request, agent)
	if err != nil {
		return "", err
	}
	now := time.Now()
	for _, earlier := range v.Votes {
		_, _ = ballot.Add(earlier.Signed, roster, now) // one that no longer counts is passed over
	}
	if _, err := ballot.Add(signed, roster, now); err != nil {
		return "", refuseVote(err)
	}
	state, _ := ballot.Count(roster, now)
	return string(state), nil
}

func refuseVote(err error) error {
	return &api.Refusal{Status: http.StatusUnprocessableEntity, Reason: "the vote does not count: " + err.Error()}
}

// rosterFile is the roster, read again when its file changes. A roster that
// cannot be used takes nobody's place: then there is none.
type rosterFile struct {
	path string
	root ed25519.PublicKey

	mu      sync.Mutex
	read    time.Time // guarded by mu: modification time of what was read
	version uint64    // guarded by mu: the highest seen
	roster  *approval.Roster
}

func (f *rosterFile) current() (*approval.Roster, error) {
	if f.path == "" {
		return nil, errors.New("no roster is configured")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	if f.roster != nil && info.ModTime().Equal(f.read) {
		return f.roster, nil
	}
	f.roster = nil
	signed, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	roster, err := approval.OpenRoster(signed, f.root, f.version)
	if err != nil {
		return nil, err
	}
	f.roster, f.read, f.version = roster, info.ModTime(), roster.Version
	return roster, nil
}
