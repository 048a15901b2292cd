package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// ErrLatched reports a stream that takes nothing any more. After an error of
// the disk nats-server stops a stream until it is started again, also when
// there is room again, and answers publishers with silence.
var ErrLatched = errors.New("the stream of batches takes nothing any more, and its server must be started again")

// The watch publishes a canary every so often.
const (
	canaryEvery = 10 * time.Second
	canaryWait  = 5 * time.Second
	canaryMiss  = 2 // unanswered in a row
)

// Watch returns ErrLatched when the stream of batches takes nothing any more
// although room says that it could, and nil when ctx ends.
func (c *Collector) Watch(ctx context.Context, room func() bool) error {
	tick := time.NewTicker(canaryEvery)
	defer tick.Stop()
	for missed := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !c.conn.IsConnected() {
			missed = 0 // the server is away, and that is another matter
			continue
		}
		err := c.canary(ctx)
		if err == nil {
			missed = 0
			continue
		}
		missed++
		c.cfg.Log.Warn("the stream of batches does not answer", zap.Int("times", missed), zap.Error(err))
		if missed >= canaryMiss && ctx.Err() == nil && room() {
			return fmt.Errorf("%w: %w", ErrLatched, err)
		}
	}
}

// canary returns nil when the stream answers, if only with a refusal.
func (c *Collector) canary(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, canaryWait)
	defer cancel()
	_, err := c.js.Publish(wait, canarySubject(c.cfg.Cluster), nil, jetstream.WithRetryAttempts(0))
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) && refusal.ErrorCode != jetstream.JSErrCodeJetStreamNotEnabled {
		return nil
	}
	return err
}
