package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// reviewing is what sluice policy shapes is asked for.
type reviewing struct {
	preapproval approval.Preapproval
	lasts       time.Duration
	sign, send  bool
	key, out    string
	withdraw    string
}

func newShapes(e *env) *cobra.Command {
	var r reviewing
	cmd := &cobra.Command{
		Use:   "shapes FILE.sql",
		Short: "Turn a file of reviewed statements into an approval given beforehand",
		Long: "Without --sign, list the statements of a file as they would be approved, or say with line and column which cannot be.\n" +
			"With --sign, sign them with your own key for the job of one commit, and write them (-o) or give them to all agents (--send).",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case r.withdraw != "" && len(args) == 0:
				o := approval.Order{Kind: approval.Release, Lifts: r.withdraw, Expires: time.Now().Add(approval.MaxOrder)}
				return e.order(cmd.Context(), o, orderFlags{reason: r.preapproval.Reason, key: r.key, approver: r.preapproval.By})
			case r.withdraw != "" || len(args) != 1:
				return errors.New("give one file, or --withdraw ID alone")
			case r.sign && r.out == "" && !r.send:
				return errors.New("a signed file goes somewhere: give -o, --send or both")
			case !r.sign && (r.out != "" || r.send):
				return errors.New("-o and --send are of --sign")
			}
			return e.shapes(cmd.Context(), args[0], r)
		},
	}
	p := &r.preapproval
	cmd.Flags().BoolVar(&r.sign, "sign", false, "sign the statements with your own key")
	cmd.Flags().BoolVar(&r.send, "send", false, "with --sign: give them to all agents, through the collector")
	cmd.Flags().StringVarP(&r.out, "out", "o", "", "with --sign: file to write, for the spool's directory pre-approved of an agent")
	cmd.Flags().StringVar(&r.withdraw, "withdraw", "", "take a pre-approval back, by its id")
	cmd.Flags().StringVar(&p.Issuer, "issuer", "", "who issues the job's verified token, as in its iss")
	cmd.Flags().StringVar(&p.Repository, "repository", "", "the repository in that token, as in acme/shop")
	cmd.Flags().StringVar(&p.Commit, "commit", "", "the commit in that token, whole")
	cmd.Flags().StringVar(&p.Resource, "resource", "", "the resource, as the policy names it")
	cmd.Flags().StringVar(&p.Rule, "rule", "", "the rule that holds the statements")
	cmd.Flags().StringVar(&p.Where.Database, "database", "", "the database that they run in")
	cmd.Flags().StringVar(&p.Where.Role, "role", "", "the role that they run as on the server")
	cmd.Flags().StringVar(&p.Where.SearchPath, "search-path", `"$user", public`, "the search_path, as SHOW prints it")
	cmd.Flags().StringVar(&p.Cluster, "cluster", "main", "the cluster of the agents")
	cmd.Flags().StringVar(&p.Reason, "reason", "", "why, for every record")
	cmd.Flags().StringVar(&p.By, "as", "", "your name in the roster")
	cmd.Flags().StringVar(&r.key, "key", "", "file with your private key")
	cmd.Flags().DurationVar(&r.lasts, "for", 24*time.Hour, "how long from now, at most 720h")
	return cmd
}

// listed is one statement as it is printed.
type listed struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Kind   string `json:"kind"`
	Digest string `json:"digest"`
}

// shapes reads a file, and lists or signs what is in it.
func (e *env) shapes(ctx context.Context, path string, r reviewing) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found, problems := sqltext.New().Exactly(text)
	if len(problems) > 0 {
		var lines []string
		for _, p := range problems {
			lines = append(lines, fmt.Sprintf("%s:%d:%d: %s", path, p.Line, p.Column, p.Why))
		}
		return e.lines(lines)
	}
	if len(found) == 0 {
		return errors.New(path + " holds no statement")
	}
	sum := sha256.Sum256(text)
	file := hex.EncodeToString(sum[:])
	var list []listed
	for _, s := range found {
		list = append(list, listed{s.Place.Line, s.Place.Column, s.Kind, hex.EncodeToString(s.Digest[:])})
	}
	if r.sign {
		return e.review(ctx, file, list, r)
	}
	if e.flags.json {
		return e.printJSON(map[string]any{"file": file, "shapes": list})
	}
	e.printf("%s: %s, sha256 %s\n", path, plural(uint64(len(list)), "statement"), file)
	for _, s := range list {
		e.printf("%d:%d\t%s\t%s\n", s.Line, s.Column, s.Kind, s.Digest)
	}
	return nil
}

// review signs the statements of a file, and writes or gives them.
func (e *env) review(ctx context.Context, file string, list []listed, r reviewing) error {
	p := r.preapproval
	p.ID, p.File, p.At = approval.NewID(), file, time.Now()
	p.Expires = p.At.Add(r.lasts)
	for _, s := range list {
		p.Shapes = append(p.Shapes, approval.Shape{Digest: s.Digest, Line: s.Line})
	}
	me, err := e.reviewer(ctx, r)
	if err != nil {
		return err
	}
	p.By = me.name
	signed, err := approval.SignPreapproval(p, me.key)
	if err != nil {
		return err
	}
	if r.out != "" {
		if err := os.WriteFile(r.out, signed, 0o644); err != nil {
			return fmt.Errorf("write pre-approval: %w", err)
		}
	}
	given := view.Preapproval{
		ID: p.ID, Repository: p.Repository, Commit: p.Commit, Resource: p.Resource, Rule: p.Rule, File: p.File, Statements: len(p.Shapes),
		By: p.By, Reason: p.Reason, At: p.At, Expires: p.Expires,
	}
	if r.send {
		if err := me.post(ctx, "/v1/preapprovals", signed, &given); err != nil {
			return err
		}
	}
	if e.flags.json {
		return e.printJSON(given)
	}
	e.printf("%s approved for %s at %s until %s: %s\n", plural(uint64(given.Statements), "statement"), given.Repository, given.Commit, clock(given.Expires), given.ID)
	return nil
}

// reviewer is who signs. A file that is not sent can be signed without a
// collector.
func (e *env) reviewer(ctx context.Context, r reviewing) (me *signer, err error) {
	if r.send {
		return e.signer(ctx, r.key, r.preapproval.By)
	}
	me = &signer{name: cmp.Or(r.preapproval.By, e.settings.Approver)}
	if me.name == "" {
		return nil, errors.New("give --as, your name in the roster")
	}
	me.key, err = e.loadKey(r.key)
	return me, err
}
