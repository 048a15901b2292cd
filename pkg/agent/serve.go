package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/guard"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// serve runs one session. Whatever goes wrong closes this connection and no
// other.
func (a *Agent) serve(ctx context.Context, accepted *broker.Accepted) {
	log := a.Log.With(zap.Stringer("destination", accepted.Origin.Destination))
	defer func() {
		_ = accepted.Close() // resets what was not served to its end
		if recover() != nil {
			// The panic's value may quote the wire; the stack does not.
			log.Error("A session panicked", zap.ByteString("stack", debug.Stack()))
		}
	}()
	release, ok := a.sessions.take(accepted.Origin.NetnsCookie)
	if !ok {
		a.alert(log, "session-quota", accepted.Origin)
		return
	}
	defer release()
	route, _ := a.Broker.Table().Lookup(accepted.Origin.Destination)
	resource := a.resources[route.Resource]
	if resource == nil {
		a.alert(log, "no-resource", accepted.Origin)
		return
	}
	server := route.To(accepted.Origin.Destination)
	if err := a.session(ctx, log, accepted, resource, server); err != nil {
		log.Error("A session failed", zap.Error(err))
	}
}

// alert records a connection that was closed unserved.
func (a *Agent) alert(log *zap.Logger, kind string, origin redirect.Origin) {
	log.Warn("A connection was closed unserved", zap.String("kind", kind))
	err := a.Trail.Alert(record.Alert{
		Kind:        kind,
		Destination: origin.Destination.String(),
		Count:       1,
		Detail:      fmt.Sprintf("cgroup %d, pid %d", origin.CgroupID, origin.PID),
	})
	if err != nil {
		log.Error("An alert could not be recorded", zap.Error(err))
	}
}

// session opens the trail of one connection, serves it and closes the trail.
func (a *Agent) session(ctx context.Context, log *zap.Logger, accepted *broker.Accepted, resource *policy.Resource, server netip.AddrPort) (err error) {
	s := &session.Session{
		ID:          session.NewID(),
		Resource:    resource.Name,
		Protocol:    resource.Protocol,
		Destination: accepted.Origin.Destination,
		Workload:    a.workload(ctx, log, accepted.Origin),
		Started:     time.Now().UTC(),
	}
	log = log.With(zap.String("session", s.ID), zap.String("resource", s.Resource))
	trail, err := a.Trail.Session(s)
	if err != nil && !resource.Observe {
		return fmt.Errorf("open the trail: %w", err)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	stopped, release := a.Orders.Watch(s, func() { end(protocol.ErrStopped) })
	defer release()
	history, forget := a.histories.Of(&s.Workload)
	defer forget()
	var conn *protocol.Conn
	following := a.Policies.Follow(resource.Name, func() { end(protocol.ErrStopped) })
	defer following.Close()
	g := guard.New(guard.Config{
		Session: s, Policy: following.Policy, Trail: trail, Desk: a.Desk,
		Agent: a.Name, Cluster: a.Cluster, Link: a.Link, Strict: a.Strict,
		Hold:    func() (func(), bool) { return a.holds.take(s.Workload.Kernel.NetnsCookie) },
		Reach:   func(ctx context.Context, op *operation.Operation) *operation.Reach { return a.reach(ctx, conn, op) },
		Shapes:  a.shapes(s.Protocol),
		History: history,
		Stopped: stopped,
		Observe: resource.Observe,
		Lost:    func(err error) { a.lost(log, err) },
	})
	reason := "panic"
	defer func() { err = errors.Join(err, g.Close(reason)) }()

	if resource.Observe && stopped() != nil {
		reason = string(stopped().Kind) // the guard refuses nothing there
		return nil
	}
	login, err := a.login(ctx, s, resource.Observe)
	if err != nil {
		reason = "no credential"
		return fmt.Errorf("credential: %w", err)
	}
	conn = &protocol.Conn{
		Session:    s,
		Client:     accepted.Conn,
		Dial:       dialler(accepted, server),
		ClientTLS:  a.clientTLS(resource, accepted.Origin.Destination),
		TLS:        a.Servers[resource.Name].TLS,
		KnownHosts: a.Servers[resource.Name].KnownHosts,
		Names:      hosts(*resource).Names,
		HostKeys:   a.hostKeys(resource, accepted.Origin.Destination),
		Protected:  a.protected,
		Credential: login,
		Guard:      g,
		Observe:    resource.Observe,
		Stopped:    func() string { return cmp.Or(guard.Stopped(stopped()), PolicyChanged) },
		Masks:      following.Began().Masks(resource.Name),
		MaskKey:    a.MaskKey,
		SQLRules:   following.Began().ReadsSQL(resource.Name),
		Log:        log,
		Loop:       a.loop,
	}
	if trail != nil {
		conn.Seal = trail.Seal
	}
	err = a.Protocols[resource.Protocol].Serve(ctx, conn)
	reason, err = ending(ctx, err)
	if order := stopped(); order != nil && err == nil {
		reason = string(order.Kind)
	} else if following.Changed() && err == nil {
		reason = "policy"
	}
	return err
}

// lost counts what of an observed session is not in the trail, and says so at
// the first and at every thousandth.
func (a *Agent) lost(log *zap.Logger, err error) {
	if n := a.unrecorded.Add(1); n%1000 == 1 {
		log.Error("An observed operation could not be recorded", zap.Error(err), zap.Uint64("so_far", n))
	}
}

// Unrecorded is how many records of observed sessions could not be made.
func (a *Agent) Unrecorded() uint64 { return a.unrecorded.Load() }

// ending says in the trail's words how Serve ended, and keeps only what is a
// fault of ours.
func ending(ctx context.Context, err error) (string, error) {
	var violation *protocol.Violation
	switch {
	case errors.As(err, &violation):
		return "violation: " + violation.Error(), nil
	case err != nil:
		return "fault", err
	case ctx.Err() != nil:
		return "agent", nil
	}
	return "peer", nil
}

// workload says who opened a connection, with a verified token where one is
// bound to it.
func (a *Agent) workload(ctx context.Context, log *zap.Logger, origin redirect.Origin) workload.Workload {
	w := a.Registry.Workload(ctx, attribution.Origin{
		CgroupID:    origin.CgroupID,
		NetnsCookie: origin.NetnsCookie,
		PID:         origin.PID,
		UID:         origin.UID,
		Started:     origin.Started,
	})
	claims, bound, err := a.Identities.Verify(ctx, w)
	if err != nil {
		log.Warn("A workload's token was not accepted", zap.Error(err))
	}
	if err == nil && bound {
		w.Verified, w.Assurance = claims, workload.Verified
	}
	return w
}

// dialler opens the server leg.
func dialler(accepted *broker.Accepted, to netip.AddrPort) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := accepted.Dial(ctx, to)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
}
