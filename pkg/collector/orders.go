package collector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// orders carries people's signed orders to all agents. It can make none: agents
// believe only what a key of the roster signed.
type orders struct {
	store   *store.Store
	cluster string
	agents  *registry
	roster  *rosterFile
	send    func(agent string, signed []byte) error
	witness func(context.Context, api.Caller, api.Act) error
	log     *zap.Logger
}

// give checks a signed order, keeps it and sends it to every agent. The check
// is so that the person learns at once what is wrong; the agents check again.
func (o *orders) give(ctx context.Context, by api.Caller, sees view.Scope, signed []byte) (view.Order, error) {
	roster, err := o.roster.current()
	if err != nil {
		o.log.Error("The roster of approvers cannot be used", zap.Error(err))
		return view.Order{}, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "there is no valid roster of approvers"}
	}
	order, err := approval.OpenOrder(signed, roster, time.Now())
	if err != nil {
		return view.Order{}, &api.Refusal{Status: http.StatusUnprocessableEntity, Reason: "the order does not count: " + err.Error()}
	}
	if person, ok := roster.Holder(approval.Account{Issuer: by.Issuer, Subject: by.Subject}); !ok || person.Name != order.By {
		return view.Order{}, &api.Refusal{Status: http.StatusForbidden, Reason: fmt.Sprintf("%s is not %s of the roster", by.Name, order.By)}
	}
	if err := o.reaches(ctx, sees, &order); err != nil {
		return view.Order{}, err
	}
	if err := o.witness(ctx, by, api.Act{Kind: "order." + string(order.Kind), Subject: order.Session + order.Container + order.Run + order.Lifts}); err != nil {
		return view.Order{}, err
	}
	if err := o.store.AddOrder(ctx, order.ID, order.At, order.Expires, signed); err != nil {
		return view.Order{}, err
	}
	o.log.Info("An order was given", zap.String("order", order.ID), zap.String("kind", string(order.Kind)), zap.String("by", order.By))
	o.tell(signed)
	return viewOrder(order), nil
}

// tell sends what a person signed to every agent.
func (o *orders) tell(signed []byte) {
	for agent := range o.agents.all() {
		if err := o.send(agent, signed); err != nil {
			o.log.Warn("An agent was not told about an order and will ask", zap.String("agent", agent), zap.Error(err))
		}
	}
}

// reaches refuses an order about what its giver may not see. Roles with limits
// reach sessions and runs that are seen by them, and what lifts a quarantine of
// those. A container may be anybody's, and so may a run that no token names: a
// job can claim to be of another's.
func (o *orders) reaches(ctx context.Context, sees view.Scope, order *approval.Order) (err error) {
	if order.Kind == approval.Release {
		standing, err := o.standing(ctx)
		if err != nil {
			return err
		}
		for i := range standing {
			if lifted := &standing[i]; lifted.ID == order.Lifts && lifted.Kind == approval.Quarantine {
				if !order.TakesBack(lifted.ID, lifted.ByConsole()) {
					return &api.Refusal{Status: http.StatusUnprocessableEntity, Reason: "a person ordered it with their own key, and such a key lifts it: use sluice quarantine --lift"}
				}
				return o.reaches(ctx, sees, lifted)
			}
		}
	}
	switch {
	case sees.All():
	case order.Session != "":
		_, err = o.store.Session(ctx, sees, order.Session)
	case order.Run != "":
		_, err = o.store.Run(ctx, sees, "verified:"+order.Run)
	default:
		err = &api.Refusal{Status: http.StatusForbidden, Reason: "this order is for those whose roles have no limits"}
	}
	return err
}

// standing returns the orders that have not expired, oldest first. What the
// roster no longer vouches for is left out.
func (o *orders) standing(ctx context.Context) ([]approval.Order, error) {
	all, err := o.store.Orders(ctx)
	if err != nil {
		return nil, err
	}
	roster, err := o.roster.current()
	if err != nil {
		return nil, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "there is no valid roster of approvers"}
	}
	var standing []approval.Order
	for _, signed := range all {
		order, err := approval.OpenOrder(signed, roster, time.Now())
		switch {
		case err == nil:
			standing = append(standing, order)
		case errors.Is(err, approval.ErrRosterExpired):
			return nil, err
		}
	}
	return standing, nil
}

// list shows the standing orders, and who lifted which.
func (o *orders) list(ctx context.Context) ([]view.Order, error) {
	standing, err := o.standing(ctx)
	shown := make([]view.Order, len(standing))
	for i := range standing {
		shown[i] = viewOrder(standing[i])
		for j := range standing {
			if standing[j].TakesBack(shown[i].ID, shown[i].Console) {
				shown[i].LiftedBy = standing[j].By
			}
		}
	}
	return shown, err
}

func viewOrder(o approval.Order) view.Order {
	return view.Order{
		ID: o.ID, Kind: string(o.Kind), Session: o.Session, Container: o.Container, Run: o.Run, Lifts: o.Lifts,
		By: o.By, Console: o.ByConsole(), Reason: o.Reason, At: o.At, Expires: o.Expires,
	}
}
