package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// answerTimeout bounds how long an agent waits for the bus or the collector to
// answer.
const answerTimeout = 10 * time.Second

// AgentConfig says how an agent reaches the bus.
type AgentConfig struct {
	URL       string // nats:// or tls://
	Cluster   string
	Agent     string
	Security  Security
	Connected func()      // called after every connect and reconnect; may be nil; must not block
	Refused   func(error) // called for every refusal by the server; may be nil; must not block
	Log       *zap.Logger
}

// Agent is an agent's connection to the bus. It is safe for concurrent use.
type Agent struct {
	conn     *nats.Conn
	subjects subjects
	faults   *faults
}

// ConnectAgent begins to connect and returns at once: a server that is away is
// tried again for ever, and until it answers every call is an error. Close
// ends it.
func ConnectAgent(cfg AgentConfig) (*Agent, error) {
	names, err := newSubjects(cfg.Cluster, cfg.Agent)
	if err != nil {
		return nil, err
	}
	a := &Agent{subjects: names, faults: newFaults(cfg.Log, cfg.Refused)}
	options, err := cfg.Security.options()
	if err != nil {
		return nil, err
	}
	connected := func(*nats.Conn) {
		if cfg.Connected != nil {
			cfg.Connected()
		}
	}
	options = append(append(options, commonOptions()...),
		nats.Name("sluice-agent "+cfg.Agent),
		nats.CustomInboxPrefix(names.inbox()), // the default one would let agents hear each other's answers
		nats.ErrorHandler(a.faults.handle),
		nats.ConnectHandler(connected),
		nats.ReconnectHandler(connected),
	)
	a.conn, err = nats.Connect(cfg.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	return a, nil
}

// Close ends the connection. What was not acknowledged is not waited for.
func (a *Agent) Close() { a.conn.Close() }

// Status returns nil while the connection stands, and why not otherwise.
func (a *Agent) Status() error {
	if a.conn.IsConnected() {
		return nil
	}
	if err := a.conn.LastError(); err != nil {
		return fmt.Errorf("the bus is away: %w", err)
	}
	return errors.New("the bus is away")
}

// PublishBatch hands a batch to the collector's stream and returns when the
// stream has it. That is no promise that the collector will get it; only a
// receipt is.
func (a *Agent) PublishBatch(ctx context.Context, note, payload []byte) error {
	msg := nats.NewMsg(a.subjects.batch())
	msg.Data = appendBatch(make([]byte, 0, 4+len(note)+len(payload)), note, payload)
	msg.Header.Set(nats.MsgIdHdr, messageID(note))
	if err := a.publish(ctx, msg); err != nil {
		return fmt.Errorf("publish batch: %w", err)
	}
	return nil
}

// PublishApprovalRequest asks the collector to find somebody who decides. The
// signed request is sent again under the same id as often as its owner likes.
func (a *Agent) PublishApprovalRequest(ctx context.Context, id string, signed []byte) error {
	subject, err := a.subjects.request(id)
	if err != nil {
		return err
	}
	msg := nats.NewMsg(subject)
	msg.Data = signed
	if err := a.publish(ctx, msg); err != nil {
		return fmt.Errorf("publish approval request: %w", err)
	}
	return nil
}

// publish sends to a stream and waits for its acknowledgement, which JetStream
// sends to the reply subject of any message: no right to its API is needed.
func (a *Agent) publish(ctx context.Context, msg *nats.Msg) error {
	if len(msg.Data) > maxMessage {
		return fmt.Errorf("%d bytes is over the limit of %d", len(msg.Data), maxMessage)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := a.faults.request(ctx, a.conn, msg)
	if err != nil {
		return err
	}
	var ack struct {
		Stream string `json:"stream"`
		Error  *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return errors.New("the answer is no acknowledgement")
	}
	if ack.Error != nil {
		return fmt.Errorf("the stream refuses it: %s (%d)", ack.Error.Description, ack.Error.Code)
	}
	if ack.Stream == "" {
		return errors.New("the answer is no acknowledgement")
	}
	return nil
}

// OnReceipt calls handle for every receipt, one at a time, until Close. A
// receipt may come twice, late, or never.
func (a *Agent) OnReceipt(handle func(receipt []byte)) error {
	_, err := a.conn.Subscribe(a.subjects.receipt(), func(msg *nats.Msg) { handle(msg.Data) })
	if err != nil {
		return fmt.Errorf("subscribe to receipts: %w", err)
	}
	return nil
}

// OnApproval calls handle for every message about an approval, one at a time,
// until Close.
func (a *Agent) OnApproval(handle func(id string, message []byte)) error {
	_, err := a.conn.Subscribe(a.subjects.decisions(), func(msg *nats.Msg) {
		handle(tokenOf(msg.Subject, decisionID), msg.Data)
	})
	if err != nil {
		return fmt.Errorf("subscribe to approvals: %w", err)
	}
	return nil
}

// OnOrder calls handle for every order, one at a time, until Close. An order may
// come twice, late, or never.
func (a *Agent) OnOrder(handle func(signed []byte)) error {
	_, err := a.conn.Subscribe(a.subjects.orders(), func(msg *nats.Msg) { handle(msg.Data) })
	if err != nil {
		return fmt.Errorf("subscribe to orders: %w", err)
	}
	return nil
}

// Sync asks the collector where this agent stands. The request is opaque to
// the bus.
func (a *Agent) Sync(ctx context.Context, request []byte) (SyncReply, error) {
	return a.SyncFrom(ctx, request, 0)
}

// SyncFrom is Sync of an agent that has the published policy of a sequence
// already; 0: none.
func (a *Agent) SyncFrom(ctx context.Context, request []byte, policy uint64) (SyncReply, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	msg := nats.NewMsg(a.subjects.sync())
	msg.Data = request
	if policy > 0 {
		msg.Header.Set(policyHeader, strconv.FormatUint(policy, 10))
	}
	answer, err := a.faults.request(ctx, a.conn, msg)
	if err != nil {
		return SyncReply{}, fmt.Errorf("sync: %w", err)
	}
	var reply SyncReply
	decoder := json.NewDecoder(bytes.NewReader(answer.Data))
	if err := decoder.Decode(&reply); err != nil {
		return SyncReply{}, errors.New("sync: the answer is no sync reply")
	}
	return reply, nil
}
