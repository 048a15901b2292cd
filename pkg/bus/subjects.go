package bus

import (
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/pkg/record"
)

// Streams of the collector. Agents have no right to their API.
const (
	batchStream   = "AUDIT"
	requestStream = "APRREQ"
	consumerName  = "collector" // of either
)

// subjects builds every subject of one cluster and agent. Both are single
// tokens, so that no name can widen a permission.
type subjects struct {
	cluster, agent string
}

func newSubjects(cluster, agent string) (subjects, error) {
	if !record.ValidName(cluster) || !record.ValidName(agent) {
		return subjects{}, fmt.Errorf("build subjects: cluster %q and agent %q must be letters, digits, _ and -", cluster, agent)
	}
	return subjects{cluster: cluster, agent: agent}, nil
}

func (s subjects) batch() string     { return "audit.v1." + s.cluster + "." + s.agent }
func (s subjects) receipt() string   { return "rcpt.v1." + s.cluster + "." + s.agent }
func (s subjects) sync() string      { return "sync.v1." + s.cluster + "." + s.agent }
func (s subjects) inbox() string     { return "_INBOX_" + s.agent }
func (s subjects) orders() string    { return "ord.v1." + s.cluster + "." + s.agent }
func (s subjects) policies() string  { return "pol.v1." + s.cluster + "." + s.agent }
func (s subjects) requests() string  { return "apr.v1.req." + s.cluster + "." + s.agent + ".*" }
func (s subjects) decisions() string { return "apr.v1.dec." + s.cluster + "." + s.agent + ".*" }

func (s subjects) request(id string) (string, error) {
	return s.withID("apr.v1.req.", id)
}

func (s subjects) decision(id string) (string, error) {
	return s.withID("apr.v1.dec.", id)
}

func (s subjects) withID(prefix, id string) (string, error) {
	if !record.ValidName(id) {
		return "", fmt.Errorf("build subject: approval id %q must be letters, digits, _ and -", id)
	}
	return prefix + s.cluster + "." + s.agent + "." + id, nil
}

// The collector's patterns: every agent of a cluster.
func allBatches(cluster string) string  { return "audit.v1." + cluster + ".*" }
func allRequests(cluster string) string { return "apr.v1.req." + cluster + ".*.*" }
func allSyncs(cluster string) string    { return "sync.v1." + cluster + ".*" }

// canary is the token of no agent; see Collector.Watch.
const canary = "~canary"

func canarySubject(cluster string) string { return "audit.v1." + cluster + "." + canary }

// Where the tokens of a subject stand.
const (
	batchAgent   = 3 // audit.v1.<cluster>.<agent>
	syncAgent    = 3 // sync.v1.<cluster>.<agent>
	requestAgent = 4 // apr.v1.req.<cluster>.<agent>.<id>
	requestID    = 5
	decisionID   = 5 // apr.v1.dec.<cluster>.<agent>.<id>
)

// tokenOf returns a token of a subject, "" when there is none.
func tokenOf(subject string, token int) string {
	tokens := strings.Split(subject, ".")
	if token >= len(tokens) {
		return ""
	}
	return tokens[token]
}

// Permissions are the subjects that a user of the bus may publish and
// subscribe to; everything else is refused.
type Permissions struct {
	Publish   []string
	Subscribe []string
	Respond   bool // and to the reply subject of each message that it is sent
}

// AgentPermissions returns exactly what one agent may do: publish its own
// batches, approval requests and sync requests, and hear its own receipts,
// decisions, orders, policies and replies. Nothing of the JetStream API is among it.
func AgentPermissions(cluster, agent string) (Permissions, error) {
	s, err := newSubjects(cluster, agent)
	if err != nil {
		return Permissions{}, err
	}
	return Permissions{
		Publish:   []string{s.batch(), s.requests(), s.sync()},
		Subscribe: []string{s.inbox() + ".>", s.receipt(), s.decisions(), s.orders(), s.policies()},
	}, nil
}

// CollectorPermissions returns exactly what a cluster's collector does on a
// server of somebody else's: set up and empty its two streams, read them, and
// send receipts, decisions, orders, policies and answers. It may not delete a stream.
func CollectorPermissions(cluster string) (Permissions, error) {
	s, err := newSubjects(cluster, "any")
	if err != nil {
		return Permissions{}, err
	}
	s.agent = "*"
	allowed := Permissions{
		Publish:   []string{s.receipt(), s.decisions(), s.orders(), s.policies(), canarySubject(cluster)},
		Subscribe: []string{"_INBOX.>", allSyncs(cluster)},
		Respond:   true,
	}
	for _, stream := range []string{batchStream, requestStream} {
		for _, verb := range []string{"INFO", "CREATE", "UPDATE", "PURGE"} {
			allowed.Publish = append(allowed.Publish, "$JS.API.STREAM."+verb+"."+stream)
		}
		for _, verb := range []string{"CREATE", "INFO", "MSG.NEXT"} {
			allowed.Publish = append(allowed.Publish, "$JS.API.CONSUMER."+verb+"."+stream+"."+consumerName)
		}
		allowed.Publish = append(allowed.Publish, "$JS.ACK."+stream+"."+consumerName+".>")
	}
	return allowed, nil
}
