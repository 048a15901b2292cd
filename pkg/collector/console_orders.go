package collector

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/collector/web"
)

// consoleMay reports whether the roster lets the console order in a caller's
// name.
func (o *orders) consoleMay(by api.Caller) bool {
	roster, err := o.roster.current()
	if err != nil || !roster.ConsoleOrders {
		return false
	}
	_, known := roster.Holder(approval.Account{Issuer: by.Issuer, Subject: by.Subject})
	return known
}

// inConsole signs an order with the console's key, for somebody who has just
// logged in, and gives it. Agents check the same.
func (o *orders) inConsole(ctx context.Context, by api.Caller, sees view.Scope, choice web.StopChoice, key ed25519.PrivateKey) error {
	roster, err := o.roster.current()
	if err != nil {
		return &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "there is no valid roster of approvers"}
	}
	account := approval.Account{Issuer: by.Issuer, Subject: by.Subject}
	person, known := roster.Holder(account)
	if !known {
		return &api.Refusal{Status: http.StatusForbidden, Reason: by.Name + " is not in the roster of approvers"}
	}
	now := time.Now()
	signed, err := approval.SignOrder(approval.Order{
		ID: approval.NewID(), Kind: choice.Kind, Session: choice.Session, Container: choice.Container, Run: choice.Run, Lifts: choice.Lifts,
		By: person.Name, Reason: choice.Reason, At: now, Expires: now.Add(choice.Lasts),
		Login: &approval.Login{Account: account, At: choice.Proven},
	}, key)
	if err != nil {
		return &api.Refusal{Status: http.StatusUnprocessableEntity, Reason: err.Error()}
	}
	_, err = o.give(ctx, by, sees, signed)
	return err
}
