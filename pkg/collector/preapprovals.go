package collector

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// maxReviewed bounds the pre-approvals in force: an agent that asks gets all of
// them in one message.
const maxReviewed = 16

// review takes in a pre-approval, and sends it to every agent as orders are. The
// check is so that the person learns at once what is wrong; the agents check
// again.
func (o *orders) review(ctx context.Context, by api.Caller, sees view.Scope, signed []byte) (view.Preapproval, error) {
	roster, err := o.roster.current()
	if err != nil {
		o.log.Error("The roster of approvers cannot be used", zap.Error(err))
		return view.Preapproval{}, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "there is no valid roster of approvers"}
	}
	p, err := approval.OpenPreapproval(signed, roster, o.cluster, time.Now())
	if err != nil {
		return view.Preapproval{}, &api.Refusal{Status: http.StatusUnprocessableEntity, Reason: "the pre-approval does not count: " + err.Error()}
	}
	if person, ok := roster.Holder(approval.Account{Issuer: by.Issuer, Subject: by.Subject}); !ok || person.Name != p.By {
		return view.Preapproval{}, &api.Refusal{Status: http.StatusForbidden, Reason: fmt.Sprintf("%s is not %s of the roster", by.Name, p.By)}
	}
	if !sees.Sees(p.Resource, p.Repository) {
		return view.Preapproval{}, &api.Refusal{Status: http.StatusForbidden, Reason: "your roles do not cover this resource and repository"}
	}
	standing, err := o.reviewed(ctx, view.Everything())
	if err != nil {
		return view.Preapproval{}, err
	}
	if len(standing) >= maxReviewed {
		return view.Preapproval{}, &api.Refusal{Status: http.StatusConflict, Reason: fmt.Sprintf("there are %d pre-approvals in force already", maxReviewed)}
	}
	if err := o.witness(ctx, by, api.Act{Kind: "preapproval", Subject: p.Repository + " " + p.Commit + " file sha256 " + p.File}); err != nil {
		return view.Preapproval{}, err
	}
	if err := o.store.AddOrder(ctx, p.ID, p.At, p.Expires, signed); err != nil {
		return view.Preapproval{}, err
	}
	o.log.Info("Statements are approved beforehand", zap.String("preapproval", p.ID), zap.String("rule", p.Rule), zap.String("by", p.By))
	o.tell(signed)
	return viewPreapproval(p), nil
}

// reviewed lists the pre-approvals in force that a caller may see. What the
// roster no longer vouches for is left out.
func (o *orders) reviewed(ctx context.Context, sees view.Scope) ([]view.Preapproval, error) {
	all, err := o.store.Orders(ctx)
	if err != nil {
		return nil, err
	}
	roster, err := o.roster.current()
	if err != nil {
		return nil, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "there is no valid roster of approvers"}
	}
	lifted := map[string]bool{}
	for _, signed := range all {
		if order, err := approval.OpenOrder(signed, roster, time.Now()); err == nil && order.TakesBack(order.Lifts, false) {
			lifted[order.Lifts] = true
		}
	}
	shown := []view.Preapproval{}
	for _, signed := range all {
		p, err := approval.OpenPreapproval(signed, roster, o.cluster, time.Now())
		if err == nil && !lifted[p.ID] && sees.Sees(p.Resource, p.Repository) {
			shown = append(shown, viewPreapproval(p))
		}
	}
	return shown, nil
}

func viewPreapproval(p approval.Preapproval) view.Preapproval {
	return view.Preapproval{
		ID: p.ID, Repository: p.Repository, Commit: p.Commit, Resource: p.Resource, Rule: p.Rule, File: p.File, Statements: len(p.Shapes),
		By: p.By, Reason: p.Reason, At: p.At, Expires: p.Expires,
	}
}
