package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/policy"
)

// policies carries published policies to agents. It can make none: agents
// believe only what a publisher of the roster signed with a key of their own.
type policies struct {
	store   *store.Store
	agents  *registry
	cluster string
	roster  *rosterFile
	send    func(agent string, published []byte) error
	witness func(context.Context, api.Caller, api.Act) error
	log     *zap.Logger
}

// keptPolicies is how far back the newest publication for an agent is looked
// for.
const keptPolicies = 1000

// publish checks a published policy, keeps it and sends it to the agents that it
// is for. The check is so that the person learns at once what is wrong; agents
// check again, and that the policy fits them.
func (p *policies) publish(ctx context.Context, by api.Caller, encoded []byte) (view.Publication, error) {
	roster, err := p.roster.current()
	if err != nil {
		p.log.Error("The roster of approvers cannot be used", zap.Error(err))
		return view.Publication{}, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "there is no valid roster of approvers"}
	}
	refuse := func(status int, format string, args ...any) (view.Publication, error) {
		return view.Publication{}, &api.Refusal{Status: status, Reason: fmt.Sprintf(format, args...)}
	}
	what, with, err := approval.OpenPublished(encoded, roster, p.cluster, time.Now())
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "it cannot be published: %v", err)
	}
	if person, ok := roster.Holder(approval.Account{Issuer: by.Issuer, Subject: by.Subject}); !ok || person.Name != what.By {
		return refuse(http.StatusForbidden, "%s is not %s of the roster", by.Name, what.By)
	}
	if what.SHA256 != "" {
		if _, err := policy.Parse("policy.yaml", with.Text); err != nil {
			return refuse(http.StatusUnprocessableEntity, "the policy cannot be used: %v", err)
		}
	}
	if err := p.witness(ctx, by, api.Act{Kind: "policy.publish", Subject: fmt.Sprintf("%d %s", what.Sequence, what.SHA256)}); err != nil {
		return view.Publication{}, err
	}
	if encoded, err = json.Marshal(with); err != nil {
		return view.Publication{}, err
	}
	if err := p.store.AddPolicy(ctx, what.Sequence, encoded); errors.Is(err, store.ErrOutdated) {
		return refuse(http.StatusConflict, "%v", store.ErrOutdated)
	} else if err != nil {
		return view.Publication{}, err
	}
	p.log.Info("A policy was published", zap.Uint64("sequence", what.Sequence), zap.String("sha256", what.SHA256), zap.String("by", what.By))
	for agent := range p.agents.all() {
		if !what.For(agent) {
			continue
		}
		if err := p.send(agent, encoded); err != nil {
			p.log.Warn("An agent was not told about a policy and will ask", zap.String("agent", agent), zap.Error(err))
		}
	}
	return viewPublication(what), nil
}

// above returns the newest publication for an agent that it does not have; nil
// when there is none.
func (p *policies) above(ctx context.Context, agent string, sequence uint64) ([]byte, error) {
	var newest []byte
	err := p.each(ctx, sequence, func(what approval.Publication, encoded []byte) bool {
		if what.For(agent) {
			newest = encoded
		}
		return newest == nil
	})
	return newest, err
}

// each calls visit for the publications above a sequence that the roster still
// vouches for, newest first, until it returns false.
func (p *policies) each(ctx context.Context, above uint64, visit func(approval.Publication, []byte) bool) error {
	all, err := p.store.Policies(ctx, above, keptPolicies)
	if err != nil || len(all) == 0 {
		return err
	}
	roster, err := p.roster.current()
	if err != nil {
		return nil //nolint:nilerr // agents have a roster of their own, and what nobody can verify is not sent
	}
	for _, encoded := range all {
		what, _, err := approval.OpenPublished(encoded, roster, p.cluster, time.Now())
		if err == nil && !visit(what, encoded) {
			return nil
		}
	}
	return nil
}

// list returns what was published, newest first.
func (p *policies) list(ctx context.Context) ([]view.Publication, error) {
	shown := []view.Publication{}
	err := p.each(ctx, 0, func(what approval.Publication, _ []byte) bool {
		shown = append(shown, viewPublication(what))
		return len(shown) < store.DefaultLimit
	})
	return shown, err
}

// one returns a publication as it was signed, with its text.
func (p *policies) one(ctx context.Context, sequence uint64) (published approval.Published, err error) {
	err = p.each(ctx, sequence-1, func(what approval.Publication, encoded []byte) bool {
		if what.Sequence == sequence {
			err = json.Unmarshal(encoded, &published)
		}
		return true
	})
	if err == nil && published.Signed == nil {
		err = fmt.Errorf("policy %w", store.ErrNotFound)
	}
	return published, err
}

func viewPublication(p approval.Publication) view.Publication {
	return view.Publication{Sequence: p.Sequence, Agents: p.Agents, SHA256: p.SHA256, By: p.By, Reason: p.Reason, At: p.At()}
}
