package bus

import (
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// policyHeader, of a sync request, is the sequence of the published policy that
// the agent has.
const policyHeader = "Sluice-Policy"

// OnPolicy calls handle for every published policy, one at a time, until Close.
// One may come twice, late, or never.
func (a *Agent) OnPolicy(handle func(published []byte)) error {
	_, err := a.conn.Subscribe(a.subjects.policies(), func(msg *nats.Msg) { handle(msg.Data) })
	if err != nil {
		return fmt.Errorf("subscribe to policies: %w", err)
	}
	return nil
}

// SendPolicy sends an agent a published policy. Nobody keeps it when the agent
// is away: it is in the answer to the agent's next sync.
func (c *Collector) SendPolicy(agent string, published []byte) error {
	names, err := newSubjects(c.cfg.Cluster, agent)
	if err != nil {
		return err
	}
	if err := c.conn.Publish(names.policies(), published); err != nil {
		return fmt.Errorf("send policy: %w", err)
	}
	return nil
}

// policyOf reads which published policy an agent says that it has.
func policyOf(msg *nats.Msg) uint64 {
	sequence, err := strconv.ParseUint(msg.Header.Get(policyHeader), 10, 64)
	if err != nil {
		return 0 // it gets the newest, and knows what to do with it
	}
	return sequence
}
