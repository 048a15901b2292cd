package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/failpoint"
)

const (
	groupSize   = 64               // messages that a handler gets at once, at most
	ackWait     = 60 * time.Second // then an unacknowledged message comes again
	maxAckQueue = 1000
	retryWait   = time.Second // after an error of the server or of a handler
	pollWait    = 5 * time.Second
)

// Batches gives handle the batches of all agents in the order of the stream,
// in groups as they have piled up, until ctx ends. They are acknowledged when
// handle returns nil and come again when it does not, so one batch may come
// any number of times, also after a restart. A message that can never be
// handled must be put aside by handle and answered with nil.
func (c *Collector) Batches(ctx context.Context, handle func(context.Context, []BatchMessage) error) error {
	return c.consume(ctx, batchStream, func(ctx context.Context, msgs []jetstream.Msg) error {
		group := make([]BatchMessage, 0, len(msgs))
		for _, msg := range msgs {
			one := BatchMessage{Agent: tokenOf(msg.Subject(), batchAgent), Raw: msg.Data()}
			if one.Agent == canary {
				continue
			}
			if meta, err := msg.Metadata(); err == nil {
				one.Sequence = meta.Sequence.Stream
			}
			if note, payload, err := cutBatch(msg.Data()); err == nil {
				one.Note, one.Payload = note, payload
			}
			group = append(group, one)
		}
		if len(group) == 0 {
			return nil
		}
		return handle(ctx, group)
	})
}

// ApprovalRequests gives handle every approval request, as Batches does.
func (c *Collector) ApprovalRequests(ctx context.Context, handle func(context.Context, RequestMessage) error) error {
	return c.consume(ctx, requestStream, func(ctx context.Context, msgs []jetstream.Msg) error {
		for _, msg := range msgs {
			request := RequestMessage{Agent: tokenOf(msg.Subject(), requestAgent), ID: tokenOf(msg.Subject(), requestID), Signed: msg.Data()}
			if err := handle(ctx, request); err != nil {
				return err
			}
		}
		return nil
	})
}

// consume pulls until ctx ends. Whatever goes wrong, it makes sure of its own
// stream and its consumer again and goes on: a server that was wiped is a
// server that must be set up.
func (c *Collector) consume(ctx context.Context, stream string, handle func(context.Context, []jetstream.Msg) error) error {
	for c.awaitServer(ctx) {
		err := c.pull(ctx, stream, handle)
		if ctx.Err() != nil {
			return nil
		}
		c.cfg.Log.Warn("consuming the stream stopped and will be tried again", zap.String("stream", stream), zap.Error(err))
		pause(ctx, retryWait)
	}
	return nil
}

// pull handles groups until something fails.
func (c *Collector) pull(ctx context.Context, stream string, handle func(context.Context, []jetstream.Msg) error) error {
	if err := c.ensureStream(ctx, stream); err != nil {
		return err
	}
	consumer, err := c.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable:       consumerName,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxAckPending: maxAckQueue,
	})
	if err != nil {
		return fmt.Errorf("set up consumer: %w", err)
	}
	purge := purger{js: c.js, stream: stream, consumer: consumer, limit: c.limit(stream)}
	for {
		if err := purge.run(ctx); err != nil {
			return err
		}
		msgs, err := fetch(ctx, consumer)
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			continue
		}
		if err := settle(ctx, msgs, handle); err != nil {
			return err
		}
	}
}

// fetch waits for one message and takes what has piled up behind it.
func fetch(ctx context.Context, consumer jetstream.Consumer) ([]jetstream.Msg, error) {
	wait, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	first, err := consumer.Fetch(1, jetstream.FetchContext(wait))
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	msgs, err := drain(first, nil)
	if err != nil || len(msgs) == 0 {
		return nil, err
	}
	more, err := consumer.FetchNoWait(groupSize - 1)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	return drain(more, msgs)
}

func drain(batch jetstream.MessageBatch, msgs []jetstream.Msg) ([]jetstream.Msg, error) {
	for msg := range batch.Messages() {
		msgs = append(msgs, msg)
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	return msgs, nil
}

// settle lets handle have the messages, then acknowledges them or asks for
// them again.
func settle(ctx context.Context, msgs []jetstream.Msg, handle func(context.Context, []jetstream.Msg) error) error {
	if err := handle(ctx, msgs); err != nil {
		for _, msg := range msgs {
			_ = msg.NakWithDelay(retryWait) // without it they come again after ackWait
		}
		return fmt.Errorf("handle: %w", err)
	}
	for _, msg := range msgs {
		failpoint.Here("bus.acknowledge")
		if err := msg.Ack(); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	return nil
}
