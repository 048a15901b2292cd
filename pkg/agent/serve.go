package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/session"
)

// serve runs one session. Whatever goes wrong closes this connection and no
// other.
func (a *Agent) serve(ctx context.Context, accepted *broker.Accepted) {
	log := a.Log.With(zap.Stringer("destination", accepted.Origin.Destination))
	defer accepted.Close() //nolint:errcheck // resets what was not served to its end
	release, ok := a.sessions.take(accepted.Origin.NetnsCookie)
	if !ok {
		a.alert("session-quota", accepted.Origin)
		return
	}
	defer release()
	if !a.begins.wait(ctx, accepted.Origin.NetnsCookie) {
		return
	}
	route, _ := a.Broker.Table().Lookup(accepted.Origin.Destination)
	resources := a.named(route.Resources)
	if len(resources) == 0 {
		a.unserved(route, accepted.Origin)
		return
	}
	from := arrival{
		origin: accepted.Origin, destination: accepted.Origin.Destination, client: accepted.Conn,
		dial: dialler(accepted, route.To(accepted.Origin.Destination)),
	}
	a.contain(log, func() error { return a.session(ctx, log, session.NewID(), from, resources) })
}

// contain runs a session, whose failure or panic is its own.
func (a *Agent) contain(log *zap.Logger, serve func() error) {
	defer func() {
		if recover() != nil {
			// The panic's value may quote the wire; the stack does not.
			log.Error("A session panicked", zap.ByteString("stack", debug.Stack()))
		}
	}()
	if err := serve(); err != nil {
		log.Error("A session failed", zap.Error(err))
	}
}

// named are the resources with these names; none, if one is not known.
func (a *Agent) named(names []string) (all []*policy.Resource) {
	for _, name := range names {
		resource := a.resources[name]
		if resource == nil {
			return nil
		}
		all = append(all, resource)
	}
	return all
}

// unserved records a connection to what is nobody's now, or of several resources
// that nobody can tell apart.
func (a *Agent) unserved(route destination.Route, origin redirect.Origin) {
	if len(route.Clash) > 0 {
		a.alert("clash", origin, "resources "+strings.Join(route.Clash, ", "))
		return
	}
	a.alert("no-resource", origin)
}

// alert records, soon, what somebody did who connected, and what else is known.
func (a *Agent) alert(kind string, origin redirect.Origin, more ...string) {
	who := fmt.Sprintf("cgroup %d, pid %d", origin.CgroupID, origin.PID)
	a.alerts.add(origin.NetnsCookie, record.Alert{
		Kind:        kind,
		Destination: origin.Destination.String(),
		Detail:      strings.Join(append([]string{who}, more...), ", "),
	})
}

// recordAlert writes an alert into the trail, and says so.
func (a *Agent) recordAlert(alert record.Alert) {
	a.Log.Warn("A connection is not as it should be", zap.String("kind", alert.Kind), zap.String("destination", alert.Destination),
		zap.Uint64("count", alert.Count), zap.String("detail", alert.Detail))
	if err := a.Trail.Alert(alert); err != nil {
		a.Log.Error("An alert could not be recorded", zap.Error(err))
	}
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

// Unread is how many observed sessions were relayed without being read, from
// their beginning or from some point on.
func (a *Agent) Unread() uint64 { return a.unread.Load() }

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
