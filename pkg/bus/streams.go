package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	duplicateWindow = 10 * time.Minute
	requestBytes    = 16 << 20
	requestAge      = 24 * time.Hour // longer than any approval may wait
	purgeEvery      = time.Minute
	purgeMargin     = time.Hour // how long handled batches are kept, to be read again after a disk was restored
)

// ensureStreams makes the streams or brings them back to what they must be.
func (c *Collector) ensureStreams(ctx context.Context) error {
	for _, stream := range []string{batchStream, requestStream} {
		if err := c.ensureStream(ctx, stream); err != nil {
			return err
		}
	}
	return nil
}

// ensureStream makes one stream or brings it back to what it must be. Full
// means refused: an agent keeps what it cannot hand over, and nothing that was
// accepted is discarded for something new. One goroutine at a time may set up
// a stream and its consumers: nats-server reads a stream's configuration for a
// new consumer without the lock under which it updates it.
func (c *Collector) ensureStream(ctx context.Context, stream string) error {
	want := c.wanted(stream)
	if limit := c.conn.MaxPayload(); limit < maxMessage {
		return fmt.Errorf("set up stream %s: max_payload of the server is %d bytes: it must be at least %d", stream, limit, maxMessage)
	}
	found, err := c.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = c.js.CreateStream(ctx, want); err != nil {
			return fmt.Errorf("set up stream %s: %w", stream, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("set up stream %s: %w", stream, err)
	}
	have := found.CachedInfo().Config
	if !slices.Equal(have.Subjects, want.Subjects) {
		return fmt.Errorf("set up stream %s: it carries %v: each cluster needs a NATS account of its own", stream, have.Subjects)
	}
	if fits(&have, &want) {
		return nil
	}
	if _, err := c.js.UpdateStream(ctx, want); err != nil {
		return fmt.Errorf("set up stream %s: %w", stream, err)
	}
	return nil
}

// wanted is what a stream must be.
func (c *Collector) wanted(stream string) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name:       stream,
		MaxBytes:   c.limit(stream),
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardNew,
		MaxMsgSize: maxMessage,
		Duplicates: duplicateWindow,
		Replicas:   max(1, c.cfg.Replicas),
	}
	switch stream {
	case batchStream:
		cfg.Subjects, cfg.DenyDelete = []string{allBatches(c.cfg.Cluster)}, true
	case requestStream:
		cfg.Subjects, cfg.MaxAge = []string{allRequests(c.cfg.Cluster)}, requestAge
	}
	return cfg
}

// fits reports whether a stream keeps and refuses messages as it must.
func fits(have, want *jetstream.StreamConfig) bool {
	return have.MaxBytes == want.MaxBytes && have.Storage == want.Storage && have.Retention == want.Retention &&
		have.Discard == want.Discard && have.MaxMsgSize == want.MaxMsgSize && have.Duplicates == want.Duplicates &&
		have.Replicas == want.Replicas && have.DenyDelete == want.DenyDelete && have.MaxAge == want.MaxAge &&
		have.MaxMsgs <= 0 && have.MaxMsgsPerSubject <= 0 &&
		!have.AllowRollup && !have.AllowMsgTTL && !have.NoAck && !have.Sealed
}

func (c *Collector) limit(stream string) int64 {
	if stream == requestStream {
		return requestBytes
	}
	return c.cfg.StreamBytes
}

// purger removes from a stream what has been handled: after purgeMargin, or at
// once when the stream is half full.
type purger struct {
	js       jetstream.JetStream
	stream   string
	consumer jetstream.Consumer
	limit    int64

	last   time.Time
	floors []floor // oldest first
}

// floor says that at a time everything up to a sequence was handled.
type floor struct {
	at       time.Time
	sequence uint64
}

// run does its work once a minute.
func (p *purger) run(ctx context.Context) error {
	now := time.Now()
	if now.Sub(p.last) < purgeEvery {
		return nil
	}
	p.last = now
	info, err := p.consumer.Info(ctx)
	if err != nil {
		return fmt.Errorf("purge %s: %w", p.stream, err)
	}
	stream, err := p.js.Stream(ctx, p.stream)
	if err != nil {
		return fmt.Errorf("purge %s: %w", p.stream, err)
	}
	p.floors = append(p.floors, floor{at: now, sequence: info.AckFloor.Stream})
	crowded := stream.CachedInfo().State.Bytes > uint64(p.limit)/2
	upTo := uint64(0)
	for len(p.floors) > 0 && (crowded || now.Sub(p.floors[0].at) > purgeMargin) {
		upTo = p.floors[0].sequence
		p.floors = p.floors[1:]
	}
	if upTo == 0 {
		return nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return fmt.Errorf("purge %s: %w", p.stream, err)
	}
	return nil
}
