// Package agent is the half of the program on each runner node that serves: it
// accepts connections from listeners that the privileged half lends it, finds
// out who opened each, and serves it with the wire protocol of its resource,
// under the guard.
//
// It promises that a connection is served only when its resource, its
// credential and its trail are there, and closed otherwise; that one workload
// cannot use up the places of another; and that Run returns only when every
// session has ended. It knows no wire protocol: they are handed in by name.
package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/trust"
)

// Parts are what an agent is made of. Whoever makes them closes them, after
// Run.
type Parts struct {
	Name, Cluster string
	Link          string         // where people decide approvals; "" for none
	Strict        bool           // every intent waits for the disk
	Policy        *policy.Policy // of the node's file: what is protected
	Policies      *Policies      // the one in force, whose resources are the same
	MaskKey       []byte         // of hashed values; see protocol.Conn
	Broker        *broker.Client // the privileged half
	Servers       Servers        // of the policy
	Registry      *attribution.Registry
	Borrower      *identity.Borrower // nil: no credential of a job is read
	Identities    *identity.Workloads
	Trust         *trust.Authority     // nil: client legs have no TLS
	HostTrust     *trust.HostAuthority // nil: no SSH host can be served
	Trail         *audit.Log
	Desk          *approval.Desk // nil: nobody can approve
	Orders        *Orders        // of people, to stop
	Protocols     map[string]protocol.Protocol
	Log           *zap.Logger
}

// Agent serves redirected connections.
type Agent struct {
	Parts
	resources map[string]*policy.Resource // by name
	sessions  *quota
	begins    *pace // of sessions
	holds     *quota
	looks     *quota          // at servers, for people who are asked
	alerts    *alerts         // about workloads
	histories guard.Histories // of workloads
	loop      *protocol.Loop  // of all sessions; set by Run
	serving   sync.WaitGroup

	unrecorded atomic.Uint64 // records of observed sessions
	unread     atomic.Uint64 // observed sessions that nobody reads, or the rest of which
}

// New checks that the policy fits the parts, and reports everything that does
// not.
func New(parts Parts) (*Agent, error) {
	a := &Agent{
		Parts:     parts,
		resources: make(map[string]*policy.Resource),
		sessions:  newQuota(maxSessions),
		begins:    newPace(perProcessor(sessionEvery), sessionBurst),
		holds:     newQuota(maxHolds),
		looks:     newQuota(maxLooks),
	}
	a.alerts = newAlerts(a.recordAlert)
	var errs []error
	for _, resource := range a.Policy.Resources() {
		a.resources[resource.Name] = &resource
		errs = append(errs, a.speaks(resource))
		if a.Trust != nil && !resource.Observe {
			errs = append(errs, a.Trust.Covers(bounds(resource)))
		}
	}
	return a, errors.Join(errs...)
}

// Run serves until ctx ends, interception fails, or another process serves in
// its place. It does not return before the last session has ended.
func (a *Agent) Run(ctx context.Context) error {
	loop, err := protocol.NewLoop()
	if err != nil {
		return err
	}
	defer loop.Close()
	processors := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(processors + loop.Goroutines())
	defer runtime.GOMAXPROCS(processors)
	a.loop = loop
	defer a.alerts.flush()
	defer a.serving.Wait()
	group, ctx := errgroup.WithContext(ctx)
	err = a.Broker.Ready(ctx, func(accepted *broker.Accepted) {
		if ctx.Err() != nil {
			_ = accepted.Close() // which resets it
			return
		}
		a.serving.Go(func() { a.serve(ctx, accepted) })
	})
	if err != nil {
		return err
	}
	group.Go(func() error { return a.reportAlerts(ctx) })
	group.Go(func() error {
		err := a.Broker.Run(ctx)
		if errors.Is(err, broker.ErrRetired) {
			a.serving.Wait() // sessions go on until they end by themselves
		}
		return err
	})
	err = group.Wait()
	if errors.Is(err, context.Canceled) || errors.Is(err, broker.ErrRetired) {
		return nil
	}
	return err
}

// reportAlerts writes what interception stopped into the trail.
func (a *Agent) reportAlerts(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case alert := <-a.Broker.Alerts():
			a.Log.Warn("Interception saw something", zap.String("kind", string(alert.Kind)))
			seen := record.Alert{Kind: string(alert.Kind), Count: alert.Count, Detail: alert.Detail}
			if alert.CgroupID != 0 || alert.NetnsCookie != 0 {
				seen.Detail = strings.TrimSpace(fmt.Sprintf("cgroup %d, netns %d %s", alert.CgroupID, alert.NetnsCookie, alert.Detail))
			}
			if alert.Destination.IsValid() {
				seen.Destination = alert.Destination.String()
			}
			err := a.Trail.Alert(seen)
			if err != nil {
				a.Log.Error("An alert could not be recorded", zap.Error(err))
			}
		}
	}
}
