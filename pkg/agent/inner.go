package agent

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/telemetry"
)

// maxDepth is how many sessions may be inside of one another: a job reaches a
// database through two hosts and no more.
const maxDepth = 3

// inner serves a connection that the workload makes through the server of one
// of its sessions. Only that server may be able to reach the resource, so the server leg
// leads through it too, and whatever answers there has to prove who it is.
func (v *serving) inner(ctx context.Context, outer *session.Session, in protocol.Inner) (string, error) {
	origin := v.from.origin
	log := v.Log.With(zap.String(telemetry.KeyParent, outer.ID))
	if v.from.depth+1 >= maxDepth {
		return "", protocol.Unserved("it leads through too many hosts")
	}
	to, route, _ := v.place(in.Host, in.Port)
	resources := v.named(route.Resources)
	if len(resources) == 0 || !slices.Equal(route.Resources, in.Resources) {
		return "", protocol.Unserved("what was there is there no more")
	}
	if !v.proven(resources) {
		return "", protocol.Unserved("its server could not prove to the agent who it is: connect to it directly")
	}
	release, ok := v.sessions.take(origin.NetnsCookie)
	if !ok {
		v.alert("session-quota", origin)
		return "", protocol.Unserved("too many sessions are open")
	}
	defer release()
	if !v.begins.wait(ctx, origin.NetnsCookie) {
		return "", protocol.Unserved("the agent stops")
	}
	client, err := in.Accept()
	if err != nil {
		return "", protocol.Unserved("the client is gone")
	}
	defer client.Close() //nolint:errcheck // it may have been closed
	from := arrival{
		origin: origin, destination: to, client: client, dial: in.Dial, depth: v.from.depth + 1,
		workload: &outer.Workload, stopped: v.stopped, parent: &session.Parent{Session: outer.ID, Operation: in.Operation},
	}
	id := session.NewID()
	v.contain(log, func() error { return v.Agent.session(ctx, log, id, from, resources) })
	return id, nil
}

// proven reports whether the server of each resource shows who it is. One that
// is only trusted by its place on the network is somewhere else here. Where it is only
// observed the agent shows it nothing.
func (a *Agent) proven(resources []*policy.Resource) bool {
	return !slices.ContainsFunc(resources, func(r *policy.Resource) bool {
		server := a.Servers[r.Name]
		return !r.Observe && server.TLS.Mode == protocol.TLSOff && len(server.KnownHosts) == 0
	})
}
