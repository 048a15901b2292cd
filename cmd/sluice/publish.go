package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// pressFlags are what every publication can be given with.
type pressFlags struct {
	orderFlags
	cluster string
	agents  []string
}

func (f *pressFlags) add(cmd *cobra.Command) {
	f.orderFlags.add(cmd)
	cmd.Flags().StringVar(&f.cluster, "cluster", "main", "the cluster of the agents")
	cmd.Flags().StringSliceVar(&f.agents, "agents", nil, `names of agents or patterns, as in "build-*"`)
}

func newPublish(e *env) *cobra.Command {
	var flags pressFlags
	cmd := &cobra.Command{
		Use:   "publish FILE --agents PATTERN",
		Short: "Put a policy's rules, masks and default in force on agents, signed with your own key",
		Long: "The file's resources must be those of the nodes' own files: what is protected, and what agents log in with, is\n" +
			"changed there. Agents take it for the next operation; one that it does not fit keeps what it has and says so.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := e.readPolicy(args[0]); err != nil {
				return err
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			return e.publish(cmd.Context(), text, flags)
		},
	}
	flags.add(cmd)
	return cmd
}

func newPublished(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "published",
		Short: "List what was published, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := e.published(cmd.Context())
			if err != nil || e.flags.json {
				return errors.Join(err, e.printJSON(all))
			}
			rows := make([][]string, len(all))
			for i, p := range all {
				rows[i] = []string{strconv.FormatUint(p.Sequence, 10), strings.Join(p.Agents, ","), what(p.SHA256), p.By, clock(p.At), p.Reason}
			}
			return e.table([]string{"SEQUENCE", "AGENTS", "POLICY", "BY", "SIGNED", "REASON"}, rows)
		},
	}
}

func (e *env) published(ctx context.Context) ([]view.Publication, error) {
	c, err := e.client()
	if err != nil {
		return nil, err
	}
	all := []view.Publication{}
	return all, c.get(ctx, "/v1/policies", nil, &all)
}

// what names the text of a publication.
func what(hash string) string {
	if hash == "" {
		return "the nodes' own files"
	}
	return "sha256 " + hash
}

func newRollback(e *env) *cobra.Command {
	var flags pressFlags
	var to uint64
	var own bool
	var hash string
	cmd := &cobra.Command{
		Use:   "rollback [--to SEQUENCE | --own-file]",
		Short: "Publish again what was in force before the newest publication, or the nodes' own files",
		Long: "An older text is published anew: agents take nothing older than what they have. The collector keeps the text; it\n" +
			"is signed again only if your own key signed it before, or if --sha256 names it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			all, err := e.published(ctx)
			if err != nil {
				return err
			}
			if len(flags.agents) == 0 && len(all) > 0 {
				flags.agents = all[0].Agents
			}
			if own {
				return e.publish(ctx, nil, flags)
			}
			if to == 0 {
				if to, err = before(all, flags.agents); err != nil {
					return err
				}
			}
			text, err := e.textOf(ctx, to, hash, flags)
			if err != nil {
				return err
			}
			return e.publish(ctx, text, flags)
		},
	}
	flags.add(cmd)
	cmd.Flags().Uint64Var(&to, "to", 0, "the sequence to go back to, as published lists it")
	cmd.Flags().BoolVar(&own, "own-file", false, "the file on each node holds again")
	cmd.Flags().StringVar(&hash, "sha256", "", "hash of the text, if somebody else published it")
	cmd.MarkFlagsMutuallyExclusive("to", "own-file")
	return cmd
}

// before finds what was published for the same agents before the newest.
func before(all []view.Publication, agents []string) (uint64, error) {
	same := func(p view.Publication) bool { return slices.Equal(p.Agents, agents) }
	newest := slices.IndexFunc(all, same)
	if newest >= 0 {
		if older := slices.IndexFunc(all[newest+1:], same); older >= 0 {
			return all[newest+1+older].Sequence, nil
		}
	}
	return 0, errors.New("nothing was published for these agents before: name a sequence (--to), or give --own-file")
}

// textOf returns the text of an earlier publication; nil of one of the nodes'
// own files. The collector could hand out any text, so it must be one that this
// person signed or names.
func (e *env) textOf(ctx context.Context, sequence uint64, hash string, flags pressFlags) ([]byte, error) {
	me, err := e.signer(ctx, flags.key, flags.approver)
	if err != nil {
		return nil, err
	}
	var raw json.RawMessage
	if err := me.get(ctx, "/v1/policies/"+strconv.FormatUint(sequence, 10), nil, &raw); err != nil {
		return nil, err
	}
	var published approval.Published
	if err := json.Unmarshal(raw, &published); err != nil {
		return nil, fmt.Errorf("the collector's answer cannot be read: %w", err)
	}
	if hash != "" {
		if got := approval.PolicyHash(published.Text); got != hash {
			return nil, fmt.Errorf("the collector has another text: its sha256 is %s", got)
		}
		return published.Text, nil
	}
	mine, err := onlyMe(me)
	if err != nil {
		return nil, err
	}
	was, with, err := approval.OpenPublished(raw, mine, flags.cluster, time.Now())
	if err != nil || was.Sequence != sequence {
		return nil, errors.Join(fmt.Errorf("you did not sign publication %d: give --sha256, from whom you trust", sequence), err)
	}
	return with.Text, nil
}

// onlyMe is a roster of one person and their key.
func onlyMe(s *signer) (*approval.Roster, error) {
	public, ok := s.key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the key is not an Ed25519 key")
	}
	line, err := approval.FormatPublicKey(public)
	if err != nil {
		return nil, err
	}
	me := approval.Approver{Name: s.name, Groups: []string{s.name}, Keys: []string{line}}
	return &approval.Roster{Publishers: me.Groups, Approvers: []approval.Approver{me}}, nil
}

// publish signs a text and hands it to the collector; nil is the nodes' own
// files.
func (e *env) publish(ctx context.Context, text []byte, flags pressFlags) error {
	if len(flags.agents) == 0 {
		return errors.New("give --agents")
	}
	me, err := e.signer(ctx, flags.key, flags.approver)
	if err != nil {
		return err
	}
	published, err := approval.Publish(approval.Publication{
		Cluster: flags.cluster, Sequence: approval.SequenceAt(time.Now()), Agents: flags.agents, By: me.name, Reason: flags.reason,
	}, text, me.key)
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(published)
	if err != nil {
		return err
	}
	var kept view.Publication
	if err := me.post(ctx, "/v1/policies", encoded, &kept); err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(kept)
	}
	e.printf("published %d for %s: %s\n", kept.Sequence, strings.Join(kept.Agents, ", "), what(kept.SHA256))
	return nil
}
