package collector

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/simulate"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/collector/web"
	"github.com/sluicegate/sluice/pkg/translog"
)

// console returns the pages for people.
func (c *Collector) console(ctx context.Context, limiter *api.Limiter) (http.Handler, error) {
	key, err := c.cfg.dir().consoleKey()
	if err != nil {
		return nil, err
	}
	return web.New(web.Config{
		Store: c.store, People: c.callers.people, URL: c.consoleURL(), Caller: c.callers.caller,
		Vote: func(ctx context.Context, by api.Caller, choice web.Choice) error {
			return c.ask.inConsole(ctx, by, choice, key)
		},
		Order: func(ctx context.Context, by api.Caller, sees view.Scope, choice web.StopChoice) error {
			return c.orders.inConsole(ctx, by, sees, choice, key)
		},
		MayOrder: c.orders.consoleMay, Orders: c.orders.list, Published: c.rules.list, Policy: c.rules.one,
		Reader: simulate.Reader{Read: c.ReadSQL, Commands: c.ReadCommands},
		Open:   c.ask.verified, Approver: c.ask.approver, Agents: c.chains, Verify: c.proveSession, Witness: c.acted,
		Limiter: limiter, Stopping: ctx.Done(), Log: c.log.Named("console"),
	}), nil
}

// consoleURL is where people open the console.
func (c *Collector) consoleURL() string {
	if c.cfg.Console.URL != "" {
		return strings.TrimRight(c.cfg.Console.URL, "/")
	}
	scheme := "http://"
	if c.cfg.API.CertFile != "" {
		scheme = "https://"
	}
	return scheme + c.APIAddress().String()
}

// inConsole signs a vote with the console's key, for somebody who has just
// logged in, and casts it. Agents check the same and more.
func (a *approvals) inConsole(ctx context.Context, by api.Caller, choice web.Choice, key ed25519.PrivateKey) error {
	name := a.approver(by)
	if name == "" {
		return &api.Refusal{Status: http.StatusForbidden, Reason: by.Name + " is not in the roster of approvers"}
	}
	asked, err := a.store.Approval(ctx, view.Everything(), choice.Number)
	if err != nil {
		return err
	}
	vote := approval.Vote{
		RequestHash: approval.RequestHash(asked.Request), Decision: choice.Decision, Scope: choice.Scope,
		Approver: name, Reason: choice.Reason, At: time.Now(), Expires: asked.NotAfter,
		Login: &approval.Login{Account: approval.Account{Issuer: by.Issuer, Subject: by.Subject}, At: choice.Proven},
	}
	if choice.Scope != approval.Once {
		vote.Expires = vote.At.Add(choice.Lasts)
	}
	signed, err := approval.SignVote(vote, key)
	if err != nil {
		return refuseVote(err)
	}
	_, err = a.vote(ctx, by, choice.Number, signed)
	return err
}

// verified returns what an agent asks, if it signed that.
func (a *approvals) verified(v view.Approval) (approval.Request, error) {
	agent, ok := a.agents.all()[v.Agent]
	if !ok {
		return approval.Request{}, errors.New("its agent is no longer enrolled")
	}
	return approval.OpenRequest(v.Request, agent.public)
}

// maxProof bounds the evidence that is verified while somebody waits, in bytes.
const maxProof = 64 << 20

var errLargeProof = &api.Refusal{
	Status: http.StatusRequestEntityTooLarge, Reason: "The session is too large to be proven here: use sluice export and sluice verify.",
}

// proveSession exports a session and verifies it with the keys that the
// collector keeps.
func (c *Collector) proveSession(ctx context.Context, sees view.Scope, session string) (translog.Report, error) {
	var archive bytes.Buffer
	if err := zipSession(ctx, c.store, sees, session, &archive); err != nil {
		return translog.Report{}, err
	}
	files, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	if err != nil {
		return translog.Report{}, err
	}
	pinned, err := os.ReadFile(c.cfg.dir().trust())
	if err != nil {
		return translog.Report{}, fmt.Errorf("read trust file: %w", err)
	}
	trust, err := translog.ParseTrust(pinned)
	if err != nil {
		return translog.Report{}, err
	}
	return translog.Verify(files, trust)
}

func zipSession(ctx context.Context, db *store.Store, sees view.Scope, session string, to *bytes.Buffer) error {
	bundle, err := db.SessionBundle(ctx, sees, session)
	if err != nil {
		return err
	}
	archive := zip.NewWriter(to)
	err = translog.WriteBundle(bundle, func(name string, data []byte) error {
		if to.Len() > maxProof {
			return errLargeProof
		}
		file, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			return err
		}
		_, err = file.Write(data)
		return err
	})
	return errors.Join(err, archive.Close())
}
