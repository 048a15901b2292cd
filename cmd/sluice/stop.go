package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/workload"
)

// killLasts is how long a kill is sent to agents that were away.
const killLasts = time.Hour

// orderFlags are what every order can be given with.
type orderFlags struct {
	reason, key, approver string
}

func (f *orderFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the job and for the record")
	cmd.Flags().StringVar(&f.key, "key", "", "file with your private key")
	cmd.Flags().StringVar(&f.approver, "as", "", "your name in the roster")
}

func newKill(e *env) *cobra.Command {
	var flags orderFlags
	cmd := &cobra.Command{
		Use:   "kill SESSION",
		Short: "End one session at once",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := approval.Order{Kind: approval.Kill, Session: args[0], Expires: time.Now().Add(killLasts)}
			return e.order(cmd.Context(), o, flags)
		},
	}
	flags.add(cmd)
	return cmd
}

func newQuarantine(e *env) *cobra.Command {
	var flags orderFlags
	var lasts time.Duration
	var lift bool
	cmd := &cobra.Command{
		Use:   "quarantine [WORKLOAD|RUN]",
		Short: "End all sessions of a container or a run and refuse new ones; without an argument, list",
		Long: "A workload is a container's id (12 digits or more), its name, or that of its pod; a run is REPOSITORY/NUMBER, as sluice sessions\n" +
			"shows them. --lift takes the id of a quarantine and ends it.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return e.listOrders(cmd.Context())
			}
			o := approval.Order{Kind: approval.Quarantine, Expires: time.Now().Add(lasts)}
			if lift {
				o.Kind, o.Lifts, o.Expires = approval.Release, args[0], time.Now().Add(approval.MaxOrder)
				return e.order(cmd.Context(), o, flags)
			}
			if err := e.aim(cmd.Context(), &o, args[0]); err != nil {
				return err
			}
			return e.order(cmd.Context(), o, flags)
		},
	}
	flags.add(cmd)
	cmd.Flags().DurationVar(&lasts, "for", 24*time.Hour, "how long it lasts, at most 720h")
	cmd.Flags().BoolVar(&lift, "lift", false, "the argument is a quarantine's id: end it")
	return cmd
}

// aim finds what a quarantine's argument names: a container's id, a run, or the
// name of a container that the collector knows.
func (e *env) aim(ctx context.Context, o *approval.Order, named string) error {
	if _, err := hex.DecodeString(named); err == nil && len(named) >= 12 {
		o.Container = named
		return nil
	}
	if strings.Contains(named, "/") {
		o.Run = named
		return nil
	}
	c, err := e.client()
	if err != nil {
		return err
	}
	var sessions []view.Session
	if err := c.get(ctx, "/v1/sessions", url.Values{"limit": {"1000"}}, &sessions); err != nil {
		return err
	}
	found, err := containerCalled(sessions, named)
	if err != nil {
		return err
	}
	if found != "" {
		o.Container = found
		return nil
	}
	return fmt.Errorf("none of the last %d sessions is of a container named %q: give its id, or REPOSITORY/NUMBER for a run", len(sessions), named)
}

// containerCalled returns the id of the newest container of that name, or of the
// only one of the newest pod of that name. Within pods many containers have the
// same name. The newest sessions come first.
func containerCalled(sessions []view.Session, named string) (id string, err error) {
	pod := ""
	for _, s := range sessions {
		var orch workload.OrchFacts
		switch err := json.Unmarshal(s.Orch, &orch); {
		case err != nil || orch.Container == "":
		case orch.PodName == "" && orch.Name == named && id == "":
			return orch.Container, nil
		case orch.PodName != named || pod != "" && orch.Pod != pod:
		case id != "" && id != orch.Container:
			return "", fmt.Errorf("pod %s has several containers: give the id of one, such as %s or %s", named, id, orch.Container)
		default:
			id, pod = orch.Container, orch.Pod
		}
	}
	return id, nil
}

// order signs an order and gives it.
func (e *env) order(ctx context.Context, o approval.Order, flags orderFlags) error {
	me, err := e.signer(ctx, flags.key, flags.approver)
	if err != nil {
		return err
	}
	o.ID, o.By, o.Reason, o.At = approval.NewID(), me.name, flags.reason, time.Now()
	signed, err := approval.SignOrder(o, me.key)
	if err != nil {
		return err
	}
	var given view.Order
	if err := me.post(ctx, "/v1/orders", signed, &given); err != nil {
		return err
	}
	if given.ID != o.ID {
		return errors.New("the collector answered about another order")
	}
	if e.flags.json {
		return e.printJSON(given)
	}
	e.printf("order %s: %s, until %s\n", given.ID, subject(given), clock(given.Expires))
	return nil
}

func (e *env) listOrders(ctx context.Context) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	var orders []view.Order
	if err := c.get(ctx, "/v1/orders", nil, &orders); err != nil {
		return err
	}
	if e.flags.json {
		return e.printJSON(orders)
	}
	rows := make([][]string, len(orders))
	for i, o := range orders {
		rows[i] = []string{o.ID, subject(o), o.By, clock(o.At), clock(o.Expires), o.Reason}
	}
	return e.table([]string{"ORDER", "WHAT", "BY", "GIVEN", "UNTIL", "REASON"}, rows)
}

// subject says whom an order is against.
func subject(o view.Order) string { return o.Kind + " " + o.Session + o.Container + o.Run + o.Lifts }
