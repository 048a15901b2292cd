package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// arrival is a connection that is to be served: a workload's own, or one that
// it makes through the server of another session.
type arrival struct {
	origin      redirect.Origin // of the workload's own
	destination netip.AddrPort
	client      net.Conn // closed by whoever made the arrival
	dial        func(context.Context) (net.Conn, error)

	// Inside another session:
	depth    int                    // how many are around it
	parent   *session.Parent        // nil: it is the workload's own
	workload *workload.Workload     // nil: it is still to be found out
	stopped  func() *approval.Order // of the session around this one; nil: there is none
}

// orElse returns what stops a session: an order of its own, or one that stopped
// the session around it.
func (a *arrival) orElse(own func() *approval.Order) func() *approval.Order {
	if a.stopped == nil {
		return own
	}
	return func() *approval.Order { return cmp.Or(own(), a.stopped()) }
}

// serving is one connection while it is served.
type serving struct {
	*Agent
	log     *zap.Logger
	from    arrival
	end     context.CancelCauseFunc // ends it
	session session.Session         // without its resource

	// Once the resource is known:
	guard     *guard.Guard
	stopped   func() *approval.Order
	following *Following
	releases  []func()
	reason    string // why it ended
}

// session serves one connection with one of some resources: the only one, or the
// one that selects it.
func (a *Agent) session(ctx context.Context, log *zap.Logger, id string, from arrival, resources []*policy.Resource) (err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	v := &serving{
		Agent: a, from: from, end: end, reason: "panic",
		session: session.Session{
			ID:          id,
			Protocol:    resources[0].Protocol,
			Destination: from.destination,
			Started:     time.Now().UTC(),
			Parent:      from.parent,
		},
	}
	if from.workload != nil {
		v.session.Workload = *from.workload
	} else {
		v.session.Workload = a.workload(ctx, log, from.origin)
	}
	v.log = log.With(zap.String("session", v.session.ID))
	defer func() { err = errors.Join(err, v.close()) }()
	conn := v.undecided(resources)
	if len(resources) == 1 && resources[0].Select.IsZero() {
		if conn, err = v.open(ctx, resources[0]); conn == nil {
			return err
		}
	}
	err = a.Protocols[v.session.Protocol].Serve(ctx, conn)
	v.reason, err = ending(ctx, err)
	if v.guard == nil || err != nil {
		return err
	}
	if order := v.stopped(); order != nil {
		v.reason = string(order.Kind)
	} else if v.following.Changed() {
		v.reason = "policy"
	}
	return nil
}

// undecided is a connection of which only the client can say what it wants.
func (v *serving) undecided(resources []*policy.Resource) *protocol.Conn {
	refused := func() { v.alert("no-resource", v.from.origin) }
	return &protocol.Conn{
		Session:   &v.session,
		Client:    v.from.client,
		ClientTLS: v.sharedTLS(named(resources), v.session.Destination.Addr(), refused),
		Masks:     &mask.Set{},
		Log:       v.log,
		Loop:      v.loop,
		Choose: func(ctx context.Context, by protocol.Start) (*protocol.Conn, error) {
			resource, err := v.choose(resources, by)
			if err != nil {
				refused()
				return nil, err
			}
			return v.open(ctx, resource)
		},
	}
}

// choose returns the resource that selects a session, among those at its
// address.
func (v *serving) choose(among []*policy.Resource, by protocol.Start) (*policy.Resource, error) {
	for _, resource := range among {
		if resource.Name == by.Resource {
			return resource, nil
		}
	}
	if by.Resource != "" {
		return nil, fmt.Errorf("resource %s is not at this address", by.Resource)
	}
	return v.Policy.Choose(named(among), policy.Opening{ServerName: by.ServerName, Database: by.Database, User: by.User})
}

// named are the names of some resources.
func named(all []*policy.Resource) []string {
	names := make([]string, len(all))
	for i, resource := range all {
		names[i] = resource.Name
	}
	return names
}

// open opens the trail of a connection whose resource is known, and returns what
// it is served with; nil: nothing more is to be done.
func (v *serving) open(ctx context.Context, resource *policy.Resource) (*protocol.Conn, error) {
	s := v.session
	s.Resource = resource.Name
	log := v.log.With(zap.String("resource", s.Resource))
	trail, err := v.Trail.Session(&s)
	if err != nil && !resource.Observe {
		return nil, fmt.Errorf("open the trail: %w", err)
	}
	own, release := v.Orders.Watch(&s, func() { v.end(protocol.ErrStopped) })
	stopped := v.from.orElse(own)
	history, forget := v.histories.Of(&s.Workload)
	following := v.Policies.Follow(resource.Name, func() { v.end(protocol.ErrStopped) })
	v.releases = append(v.releases, following.Close, forget, release)
	conn := &protocol.Conn{}
	v.stopped, v.following = stopped, following
	v.guard = guard.New(guard.Config{
		Session: &s, Policy: following.Policy, Trail: trail, Desk: v.Desk,
		Agent: v.Name, Cluster: v.Cluster, Link: v.Link, Strict: v.Strict,
		Hold:    func() (func(), bool) { return v.holds.take(s.Workload.Kernel.NetnsCookie) },
		Reach:   func(ctx context.Context, op *operation.Operation) *operation.Reach { return v.reach(ctx, conn, op) },
		Shapes:  v.shapes(s.Protocol),
		History: history,
		Stopped: stopped,
		Observe: resource.Observe,
		Lost:    func(err error) { v.lost(log, err) },
		Unread:  func() { v.unread.Add(1) },
	})
	if resource.Observe && stopped() != nil {
		v.reason = string(stopped().Kind) // the guard refuses nothing there
		return nil, nil
	}
	login, err := v.login(ctx, &s, resource.Observe)
	if err != nil {
		v.reason = "no credential"
		return nil, fmt.Errorf("credential: %w", err)
	}
	*conn = protocol.Conn{
		Session:    &s,
		Client:     v.from.client,
		Dial:       v.from.dial,
		ClientTLS:  v.clientTLS(resource, s.Destination),
		TLS:        v.Servers[resource.Name].TLS,
		KnownHosts: v.Servers[resource.Name].KnownHosts,
		Names:      hosts(*resource).Names,
		HostKeys:   v.hostKeys(resource, s.Destination),
		Protected:  v.protected,
		Inner:      func(ctx context.Context, in protocol.Inner) (string, error) { return v.inner(ctx, &s, in) },
		Credential: login,
		Login:      func(ctx context.Context) (protocol.Credential, error) { return v.login(ctx, &s, resource.Observe) },
		Guard:      v.guard,
		Observe:    resource.Observe,
		Stopped:    func() string { return cmp.Or(guard.Stopped(stopped()), PolicyChanged) },
		Masks:      following.Began().Masks(resource.Name),
		MaskKey:    v.MaskKey,
		SQLRules:   following.Began().ReadsSQL(resource.Name),
		Log:        log,
		Loop:       v.loop,
	}
	if trail != nil {
		conn.Seal = trail.Seal
	}
	return conn, nil
}

// close ends the trail, and what followed the session.
func (v *serving) close() (err error) {
	if v.guard != nil {
		err = v.guard.Close(v.reason)
	}
	for _, release := range v.releases {
		release()
	}
	return err
}
