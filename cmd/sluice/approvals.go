package main

import (
	"bufio"
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

func newApprovals(e *env) *cobra.Command {
	var all bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List what waits for a person",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return e.listApprovals(cmd.Context(), all) },
	}
	list.Flags().BoolVar(&all, "all", false, "also what was decided")
	show := &cobra.Command{
		Use:   "show N",
		Short: "Show what is asked, verified with the agent's pinned key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, err := e.asked(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(asked)
			}
			e.showAsked(asked)
			return nil
		},
	}
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "See and decide what waits for a person",
		Args:  cobra.NoArgs,
		RunE:  list.RunE,
	}
	cmd.AddCommand(list, show, newVote(e, approval.Approve), newVote(e, approval.Deny))
	return cmd
}

func newVote(e *env, decision approval.Decision) *cobra.Command {
	var b ballotPaper
	cmd := &cobra.Command{
		Use:   string(decision) + " N",
		Short: "Sign and cast your vote: " + string(decision),
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.decision = decision
			return e.vote(cmd.Context(), args[0], b)
		},
	}
	cmd.Flags().StringVar(&b.reason, "reason", "", "why, for whoever waits and for the record")
	cmd.Flags().StringVar(&b.key, "key", "", "file with your private key")
	cmd.Flags().StringVar(&b.approver, "as", "", "your name in the roster")
	cmd.Flags().BoolVar(&b.yes, "yes", false, "do not ask on a terminal")
	if decision == approval.Approve {
		cmd.Flags().StringVar(&b.scope, "scope", string(approval.Once), "session or shape: let the same go on without asking again, where the rule offers it")
		cmd.Flags().DurationVar(&b.lasts, "for", time.Hour, "how long a session or shape is approved")
	}
	return cmd
}

// ballotPaper is a vote before it is signed.
type ballotPaper struct {
	decision              approval.Decision
	reason, key, approver string
	scope                 string
	lasts                 time.Duration
	yes                   bool
}

func (e *env) listApprovals(ctx context.Context, all bool) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if !all {
		query.Set("state", "pending")
	}
	var approvals []view.Approval
	if err := c.get(ctx, "/v1/approvals", query, &approvals); err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(approvals)
	}
	rows := make([][]string, len(approvals))
	for i, a := range approvals {
		rows[i] = []string{fmt.Sprint(a.Number), a.State, clock(a.Requested), clock(a.NotAfter), a.Resource, a.Rule, a.Text}
	}
	return e.table([]string{"NUMBER", "STATE", "ASKED", "UNTIL", "RESOURCE", "RULE", "WHAT"}, rows)
}

// asked is an approval whose request was verified.
type asked struct {
	Approval view.Approval    `json:"approval"`
	Request  approval.Request `json:"request"`
}

// asked fetches an approval and verifies the agent's signature with the pinned
// key. Nothing that the collector says about the request is shown.
func (e *env) asked(ctx context.Context, number string) (asked, error) {
	if n, err := strconv.ParseUint(number, 10, 63); err != nil || n == 0 {
		return asked{}, fmt.Errorf("%q is not the number of an approval", number)
	}
	c, err := e.client()
	if err != nil {
		return asked{}, err
	}
	trust, err := e.trust()
	if err != nil {
		return asked{}, err
	}
	var a asked
	if err := c.get(ctx, "/v1/approvals/"+number, nil, &a.Approval); err != nil {
		return asked{}, err
	}
	a.Request, err = openPinned(a.Approval.Request, trust)
	return a, err
}

// openPinned opens a request that one of the pinned agents signed about
// itself.
func openPinned(signed []byte, trust translog.Trust) (approval.Request, error) {
	for _, vkey := range trust.Agents {
		key, err := translog.PublicKey(vkey)
		if err != nil {
			return approval.Request{}, fmt.Errorf("trust file: %w", err)
		}
		request, err := approval.OpenRequest(signed, key)
		if err != nil {
			continue
		}
		verifier, err := translog.NewVerifier(vkey)
		if err == nil && verifier.Name() == translog.AgentKeyName(request.Cluster, request.Agent) {
			return request, nil
		}
	}
	return approval.Request{}, errors.New("the request is not signed by an agent of the trust file: do not decide it")
}

func (e *env) showAsked(a asked) {
	r := &a.Request
	e.printf("approval  %d, %s\n", a.Approval.Number, a.Approval.State)
	e.printf("resource  %s\n", r.Resource)
	if r.Where != (approval.Where{}) {
		e.printf("where     database %s, role %s, search_path %s\n",
			view.OneLine(r.Where.Database, maxCell), view.OneLine(r.Where.Role, maxCell), view.OneLine(r.Where.SearchPath, maxCell))
	}
	if r.Asks != "" {
		e.printf("asks      %s\n", view.OneLine(r.Asks, 4*maxCell))
	}
	e.printf("rule      %s\n", strings.TrimSuffix(r.Rule+": "+r.Reason, ": "))
	e.printf("asked     %s, until %s\n", clock(r.Created), clock(r.NotAfter))
	e.printf("by        %s\n", requester(r))
	e.printf("session   %s, operation %d, agent %s of %s\n", r.Session, r.Operation, r.Agent, r.Cluster)
	e.printf("needs     %s of %s, four eyes %s\n",
		plural(uint64(r.Required.Votes), "vote"), strings.Join(r.Required.Groups, ", "), r.FourEyes)
	if r.Scope != approval.Once {
		e.printf("offers    --scope %s\n", r.Scope)
	}
	e.printf("action    sha256 %s\n\n    %s\n", r.Action, lines(r.Text))
	e.showReach(r.Reach)
	e.showBefore(r.Before)
	for _, v := range a.Approval.Votes {
		e.printf("\n%s by %s at %s %s\n", v.Decision, v.Approver, clock(v.At), v.Reason)
	}
}

func requester(r *approval.Request) string {
	q := &r.Requester
	words := []string{q.Assurance.String()}
	for _, fact := range [][2]string{
		{"subject", q.Account.Subject}, {"repository", q.Repository}, {"commit", q.Commit}, {"run", q.Run}, {"pod", q.Pod},
	} {
		if fact[1] != "" {
			words = append(words, fact[0]+" "+fact[1])
		}
	}
	if q.Name != "" || q.Image != "" {
		words = append(words, strings.TrimSpace("container "+q.Name+" "+q.Image))
	}
	words = append(words, q.Exe, "uid "+fmt.Sprint(q.UID))
	if q.Kind == "ai" {
		words = append(words, "AI agent "+q.Product)
	}
	if len(q.Evidence) > 0 {
		words = append(words, "by "+strings.Join(q.Evidence, " and "))
	}
	return strings.Join(words, ", ")
}

// vote shows what is asked, signs the vote over it and casts it.
func (e *env) vote(ctx context.Context, number string, b ballotPaper) error {
	a, err := e.asked(ctx, number)
	if err != nil {
		return err
	}
	if !e.flags.json {
		e.showAsked(a)
	}
	if err := e.confirm(b); err != nil {
		return err
	}
	me, err := e.signer(ctx, b.key, b.approver)
	if err != nil {
		return err
	}
	signed, err := me.vote(&a, b)
	if err != nil {
		return err
	}
	var decided view.Approval
	if err := me.post(ctx, "/v1/approvals/"+number+"/votes", signed, &decided); err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(decided)
	}
	e.printf("\nYour vote is cast: %s. The approval is %s.\n", b.decision, decided.State)
	return nil
}

// confirm asks on a terminal.
func (e *env) confirm(b ballotPaper) error {
	file, ok := e.in.(*os.File)
	if b.yes || e.flags.json || !ok {
		return nil
	}
	if _, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS); err != nil {
		return nil //nolint:nilerr // /dev/null too is a character device, but no terminal
	}
	e.printf("\n%s? [y/N] ", b.decision)
	answer, err := bufio.NewReader(file).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
		return errors.New("nothing was decided")
	}
	return nil
}

// signer is somebody who signs for the collector, with their own key and as the
// roster names them.
type signer struct {
	*client
	key  crypto.Signer
	name string
}

// signer reads key and name from flags, else from the configuration.
func (e *env) signer(ctx context.Context, keyFile, name string) (*signer, error) {
	c, err := e.client()
	if err != nil {
		return nil, err
	}
	key, err := e.loadKey(keyFile)
	if err != nil {
		return nil, err
	}
	name, err = e.approver(ctx, c, name)
	return &signer{c, key, name}, err
}

func (s *signer) vote(a *asked, b ballotPaper) ([]byte, error) {
	vote := approval.Vote{
		RequestHash: approval.RequestHash(a.Approval.Request), Decision: b.decision, Scope: approval.Once,
		Approver: s.name, Reason: b.reason, At: time.Now(), Expires: a.Request.NotAfter,
	}
	if scope := approval.Scope(b.scope); b.scope != "" && scope != approval.Once {
		vote.Scope, vote.Expires = scope, vote.At.Add(b.lasts)
	}
	return approval.SignVote(vote, s.key)
}

// loadKey reads the person's private key; path "" is the configuration's.
func (e *env) loadKey(path string) (crypto.Signer, error) {
	if path == "" {
		path = string(e.settings.Key)
	}
	if path == "" {
		return nil, errors.New("no key: write key in the configuration, or give --key")
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return approval.LoadKey(file, nil)
}

// approver is the name under which to vote. A wrong one makes a vote that does
// not count, so the collector may be asked.
func (e *env) approver(ctx context.Context, c *client, flag string) (string, error) {
	for _, name := range []string{flag, e.settings.Approver} {
		if name != "" {
			return name, nil
		}
	}
	var me view.Caller
	if err := c.get(ctx, "/v1/whoami", nil, &me); err != nil {
		return "", err
	}
	if me.Approver == "" {
		return "", fmt.Errorf("%s is not in the roster of approvers", view.Flat(me.Name))
	}
	return me.Approver, nil
}
