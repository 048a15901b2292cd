// Package cosign asks witnesses to co-sign the log's checkpoints (C2SP
// tlog-witness, add-checkpoint), so that a collector that shows two faces, or
// goes back, needs their help.
//
// It believes a witness nothing but a signature under its pinned key. Nothing
// waits for a witness: a receipt does not, and a log whose witnesses are away
// only has an older cosigned checkpoint. Of two such checkpoints the one with
// more cosignatures is kept, else the newer one.
package cosign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/translog"
)

const (
	every     = 30 * time.Second // a round, when the log has grown
	askTime   = 10 * time.Second // for one answer
	maxAnswer = 16 << 10
)

// Witness is whom to ask, and its key.
type Witness struct {
	URL string // add-checkpoint is below it
	Key *translog.Witness
}

// Cosigner asks witnesses about one log.
type Cosigner struct {
	Store     *store.Store
	Key       *translog.Verifier // the log's
	Witnesses []Witness
	Log       *zap.Logger

	client http.Client
	seen   map[string]int64 // leaves, by witness, as far as we know
}

// Run asks until ctx ends.
func (c *Cosigner) Run(ctx context.Context) error {
	if len(c.Witnesses) == 0 {
		return nil
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := c.Round(ctx); err != nil && ctx.Err() == nil {
			c.Log.Error("Witnesses could not be asked", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Round asks each witness for its cosignature of the checkpoint as it is now,
// unless all of them have given it. Its error is the store's.
func (c *Cosigner) Round(ctx context.Context) error {
	size, checkpoint, err := c.Store.Checkpoint(ctx)
	if err != nil || size == 0 {
		return err
	}
	keptSize, kept, err := c.Store.Cosigned(ctx)
	if err != nil {
		return err
	}
	had := c.count(kept)
	if keptSize == size && had == len(c.Witnesses) {
		return nil
	}
	signed := checkpoint
	for i := range c.Witnesses {
		w := &c.Witnesses[i]
		with, err := c.ask(ctx, w, size, checkpoint, signed)
		if err != nil {
			if ctx.Err() == nil {
				c.Log.Warn("A witness does not co-sign", zap.String("witness", w.Key.Name()), zap.Error(err))
			}
			continue
		}
		signed = with
	}
	if n := c.count(signed); n == 0 || n < had {
		return nil
	}
	return c.Store.SetCosigned(ctx, size, signed)
}

// count returns how many of our witnesses have co-signed a note.
func (c *Cosigner) count(signed []byte) int {
	n := 0
	for _, w := range c.Witnesses {
		if _, by, err := translog.OpenCosigned(signed, c.Key, []*translog.Witness{w.Key}); err == nil && len(by) > 0 {
			n++
		}
	}
	return n
}

// errGoesBack is what somebody must look at: the witness saw more leaves than
// the log has.
var errGoesBack = errors.New("the witness has seen a longer log than this one: it was rolled back, or another log uses its key")

// ask returns signed with the witness's line. The witness says what it has seen
// when we do not know.
func (c *Cosigner) ask(ctx context.Context, w *Witness, size int64, checkpoint, signed []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if c.seen == nil {
		c.seen = map[string]int64{}
	}
	for range 2 {
		old := min(c.seen[w.Key.Name()], size)
		lines, has, err := c.post(ctx, w, old, size, checkpoint)
		if err != nil {
			return nil, err
		}
		if lines == nil {
			if has > size {
				return nil, errGoesBack
			}
			c.seen[w.Key.Name()] = has
			continue
		}
		with, err := translog.AddCosignature(signed, lines, c.Key, w.Key)
		if err == nil {
			c.seen[w.Key.Name()] = size
		}
		return with, err
	}
	return nil, errors.New("it contradicts itself about what it has seen")
}

// post makes one request. Without lines the witness has seen another size than
// old, which is returned.
func (c *Cosigner) post(ctx context.Context, w *Witness, old, size int64, checkpoint []byte) (lines []byte, has int64, err error) {
	var proof []translog.Hash
	if old < size {
		if proof, err = translog.ProveConsistency(old, size, c.Store.Hashes(ctx)); err != nil {
			return nil, 0, err
		}
	}
	body := bytes.NewReader(translog.AddCheckpoint(old, proof, checkpoint))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(w.URL, "/")+"/add-checkpoint", body)
	if err != nil {
		return nil, 0, err
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	said, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return nil, 0, err
	}
	switch answer.StatusCode {
	case http.StatusOK:
		if len(said) == 0 {
			return nil, 0, errors.New("its answer is empty")
		}
		return said, 0, nil
	case http.StatusConflict:
		has, err = strconv.ParseInt(strings.TrimSpace(string(said)), 10, 64)
		if err != nil || has < 0 {
			return nil, 0, errors.New("its answer names no size")
		}
		return nil, has, nil
	}
	return nil, 0, fmt.Errorf("its answer is %s", answer.Status)
}
