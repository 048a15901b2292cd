package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// InProcess is a server in this process, such as an embedded nats-server.
type InProcess interface {
	InProcessConn() (net.Conn, error)
}

// CollectorConfig says how the collector reaches the bus.
type CollectorConfig struct {
	URL         string    // ignored when InProcess is set
	InProcess   InProcess // a server in this process, else nil
	Cluster     string
	Security    Security
	StreamBytes int64 // how much the stream of batches may hold; agents keep what does not fit
	Replicas    int   // of each message, in a cluster of servers; 0 is 1
	// Patient lets ConnectCollector return although the server is away. Then
	// streams are set up by whoever consumes them, when it is there.
	Patient bool
	Log     *zap.Logger
}

// Collector is the collector's connection to the bus. It is safe for
// concurrent use.
type Collector struct {
	cfg    CollectorConfig
	conn   *nats.Conn
	js     jetstream.JetStream
	faults *faults
}

// BatchMessage is one batch as an agent published it. Nothing in it is
// verified, but the server let only Agent's user publish it. Note and Payload
// are nil when the message could not be cut; Raw is what came.
type BatchMessage struct {
	Agent         string // of the subject; must be the agent of the note
	Note, Payload []byte
	Raw           []byte
	Sequence      uint64 // in the stream
}

// RequestMessage is one signed approval request as an agent published it.
type RequestMessage struct {
	Agent  string // of the subject; must be the agent of the request
	ID     string // of the subject; must be the id of the request
	Signed []byte
}

// ConnectCollector connects and makes sure that the streams stand as they must,
// unless it may be patient.
func ConnectCollector(ctx context.Context, cfg CollectorConfig) (*Collector, error) {
	if _, err := newSubjects(cfg.Cluster, "any"); err != nil {
		return nil, err
	}
	if cfg.StreamBytes < maxMessage {
		return nil, fmt.Errorf("connect to the bus: a stream of %d bytes does not hold one message", cfg.StreamBytes)
	}
	c := &Collector{cfg: cfg, faults: newFaults(cfg.Log, nil)}
	options, err := cfg.Security.options()
	if err != nil {
		return nil, err
	}
	options = append(append(options, commonOptions()...), nats.Name("sluice-collector"), nats.ErrorHandler(c.faults.handle),
		nats.ConnectHandler(func(*nats.Conn) { cfg.Log.Info("the bus is there") }),
		nats.ReconnectHandler(func(*nats.Conn) { cfg.Log.Info("the bus is there again") }),
		nats.DisconnectErrHandler(c.disconnected),
	)
	if cfg.InProcess != nil {
		options = append(options, nats.InProcessServer(cfg.InProcess))
	}
	if c.conn, err = nats.Connect(cfg.URL, options...); err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	if c.js, err = jetstream.New(c.conn); err != nil {
		c.conn.Close()
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	if cfg.Patient {
		return c, nil
	}
	if err := c.ensureStreams(ctx); err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

// disconnected logs the loss of the server, once for each.
func (c *Collector) disconnected(_ *nats.Conn, err error) {
	if err != nil { // nil is our own Close
		c.cfg.Log.Error("the bus is away: agents keep their records", zap.Error(err))
	}
}

// awaitServer returns whether ctx is still alive once the server is there.
func (c *Collector) awaitServer(ctx context.Context) bool {
	for !c.conn.IsConnected() {
		if !pause(ctx, awayWait) {
			return false
		}
	}
	return ctx.Err() == nil
}

// awayWait is how often a server that is away is looked for.
const awayWait = 250 * time.Millisecond

// Close ends the connection.
func (c *Collector) Close() { c.conn.Close() }

// SendReceipt sends an agent its receipt. Nobody keeps it when the agent is
// away: the agent syncs when it is back.
func (c *Collector) SendReceipt(agent string, receipt []byte) error {
	names, err := newSubjects(c.cfg.Cluster, agent)
	if err != nil {
		return err
	}
	if err := c.conn.Publish(names.receipt(), receipt); err != nil {
		return fmt.Errorf("send receipt: %w", err)
	}
	return nil
}

// SendApproval sends an agent a message about one of its approvals.
func (c *Collector) SendApproval(agent, id string, message []byte) error {
	names, err := newSubjects(c.cfg.Cluster, agent)
	if err != nil {
		return err
	}
	subject, err := names.decision(id)
	if err != nil {
		return err
	}
	if err := c.conn.Publish(subject, message); err != nil {
		return fmt.Errorf("send approval: %w", err)
	}
	return nil
}

// SendOrder sends an agent a signed order. Nobody keeps it when the agent is
// away: it is in the answer to the agent's next sync.
func (c *Collector) SendOrder(agent string, signed []byte) error {
	names, err := newSubjects(c.cfg.Cluster, agent)
	if err != nil {
		return err
	}
	if err := c.conn.Publish(names.orders(), signed); err != nil {
		return fmt.Errorf("send order: %w", err)
	}
	return nil
}

// ServeSync answers agents that ask where they stand, one at a time, until ctx
// ends. policy is the sequence of the published policy that the agent has. An
// error of handle is logged and the agent gets no answer; it asks
// again.
func (c *Collector) ServeSync(ctx context.Context, handle func(ctx context.Context, agent string, request []byte, policy uint64) (SyncReply, error)) error {
	sub, err := c.conn.SubscribeSync(allSyncs(c.cfg.Cluster))
	if err != nil {
		return fmt.Errorf("serve sync: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone already
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, nats.ErrSlowConsumer) {
			continue // agents ask again
		}
		if err != nil {
			return fmt.Errorf("serve sync: %w", err)
		}
		agent := tokenOf(msg.Subject, syncAgent)
		if err := c.answerSync(ctx, agent, msg, handle); err != nil {
			c.cfg.Log.Warn("an agent's sync was not answered", zap.String("agent", agent), zap.Error(err))
		}
	}
}

func (c *Collector) answerSync(ctx context.Context, agent string, msg *nats.Msg, handle func(context.Context, string, []byte, uint64) (SyncReply, error)) error {
	reply, err := handle(ctx, agent, msg.Data, policyOf(msg))
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(reply)
	if err == nil && len(encoded) > maxMessage {
		// What people decided goes ahead, one by one, as it does when it is new.
		for _, order := range reply.Orders {
			err = errors.Join(err, c.SendOrder(agent, order))
		}
		for _, d := range reply.Approvals {
			err = errors.Join(err, c.SendApproval(agent, d.ID, d.Message))
		}
		reply.Orders, reply.Approvals = nil, nil
		if err == nil {
			encoded, err = json.Marshal(reply)
		}
	}
	if err != nil {
		return fmt.Errorf("answer sync: %w", err)
	}
	return msg.Respond(encoded)
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
