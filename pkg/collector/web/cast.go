package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// The streams of a terminal, as pkg/protocol names them.
const (
	streamResponse = "response"
	streamErrors   = "stderr"
	streamSize     = "size" // "80x24"
)

// Terminal reports whether an operation can be replayed as a terminal.
func terminal(op *view.Operation) bool {
	if op.SSH == nil && (op.Kube == nil || op.Kind != string(operation.Exec) && op.Kind != string(operation.Shell)) {
		return false
	}
	for _, c := range op.Chunks {
		if c.Stream == streamResponse && len(c.Data) > 0 {
			return true
		}
	}
	return false
}

// cast writes an operation as an asciicast (docs.asciinema.org, file format
// version 2): what the job saw, when it saw it.
func (c *console) cast(v *visit) error {
	id := v.r.PathValue("id")
	number, err := strconv.ParseUint(v.r.PathValue("operation"), 10, 63)
	if err != nil {
		return store.ErrNotFound
	}
	if err := c.Witness(v.ctx(), v.by, api.Act{Kind: "session.read", Subject: id}); err != nil {
		return err
	}
	op, err := c.operation(v, id, number)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/x-asciicast")
	encoder := json.NewEncoder(v.w)
	width, height := firstSize(op)
	if err := encoder.Encode(map[string]any{"version": 2, "width": width, "height": height}); err != nil {
		return nil //nolint:nilerr // the browser has gone
	}
	for _, chunk := range op.Chunks {
		kind, data := "o", string(chunk.Data)
		switch {
		case chunk.Stream == streamSize:
			kind = "r"
		case chunk.Stream != streamResponse && chunk.Stream != streamErrors:
			continue
		case chunk.Data == nil:
			data = fmt.Sprintf("\r\n[%d bytes, of which only the digest was kept]\r\n", chunk.Size)
		}
		if !utf8.ValidString(data) {
			data = strings.ToValidUTF8(data, "\uFFFD")
		}
		if encoder.Encode([]any{chunk.At.Seconds(), kind, data}) != nil {
			return nil
		}
	}
	return nil
}

// operation reads one operation of a session, page by page.
func (c *console) operation(v *visit, id string, number uint64) (*view.Operation, error) {
	records, err := c.recordsOf(v.ctx(), v, id, func(h *record.Header) bool { return h.Operation == number })
	if err != nil {
		return nil, err
	}
	ops, err := view.Fold(records)
	if err != nil || len(ops) != 1 {
		return nil, &api.Refusal{Status: http.StatusNotFound, Reason: "There is no such operation, or its records cannot be read."}
	}
	return ops[0], nil
}

// recordsOf reads the records of a session that keep wants, page by page. What
// cannot be decoded is left out.
func (c *console) recordsOf(ctx context.Context, v *visit, id string, keep func(*record.Header) bool) (all []view.Record, err error) {
	for after := ""; ; {
		page, err := c.Store.Records(ctx, v.sees, id, after, store.PageBytes)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			if header, _, err := view.Decode(&r); err == nil && keep(&header) {
				all = append(all, r)
			}
		}
		if after = page.Next; after == "" {
			return all, nil
		}
	}
}

func firstSize(op *view.Operation) (width, height int) {
	for _, chunk := range op.Chunks {
		if chunk.Stream != streamSize {
			continue
		}
		if n, err := fmt.Sscanf(string(chunk.Data), "%dx%d", &width, &height); n == 2 && err == nil {
			return min(max(width, 1), 500), min(max(height, 1), 200)
		}
	}
	return 80, 24
}
