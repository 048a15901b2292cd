package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// What DecodeHeader and DecodeBody accept at most, in bytes.
const (
	MaxHeader = 96 << 10
	MaxBody   = 240 << 10
)

// DecodeHeader reads the encoding of a header strictly: one JSON object in
// valid UTF-8, no key twice, nothing after it, the part that Type names and no
// other. Fields and types that this version does not know are allowed.
func DecodeHeader(data []byte) (Header, error) {
	if len(data) <= MaxHeader {
		if h, ok := decodeCanonical(data); ok {
			return h, nil
		}
	}
	var h Header
	if err := decode(data, MaxHeader, &h); err != nil {
		return Header{}, fmt.Errorf("decode header: %w", err)
	}
	if err := h.checkParts(); err != nil {
		return Header{}, fmt.Errorf("decode header: %w", err)
	}
	return h, nil
}

// DecodeBody reads the encoding of a body as strictly. No bytes at all are an
// empty body.
func DecodeBody(data []byte) (Body, error) {
	if len(data) == 0 {
		return Body{}, nil
	}
	if len(data) <= MaxBody {
		if b, ok := decodeCanonicalBody(data); ok {
			return b, nil
		}
	}
	var b Body
	if err := decode(data, MaxBody, &b); err != nil {
		return Body{}, fmt.Errorf("decode body: %w", err)
	}
	return b, nil
}

// decode never reports what encoding/json says: its errors quote the input.
func decode(data []byte, limit int, into any) error {
	if len(data) > limit {
		return fmt.Errorf("%d bytes is over the limit of %d", len(data), limit)
	}
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	if !bytes.HasPrefix(data, []byte("{")) {
		return errors.New("not a JSON object")
	}
	if err := json.Unmarshal(data, into); err != nil {
		return errors.New("not JSON of this schema")
	}
	return checkKeys(data)
}

// checkParts reports whether the header holds the part that its type names,
// and that part only.
func (h *Header) checkParts() error {
	for _, part := range []struct {
		set   bool
		types []Type
	}{
		{h.Agent != nil, []Type{AgentStarted, AgentPolicy}},
		{h.Alert != nil, []Type{AgentAlert}},
		{h.Order != nil, []Type{AgentOrder}},
		{h.Opened != nil, []Type{SessionOpened}},
		{h.Closed != nil, []Type{SessionClosed}},
		{h.Intent != nil, []Type{OperationIntent}},
		{h.Chunk != nil, []Type{OperationChunk}},
		{h.Outcome != nil, []Type{OperationOutcome}},
		{h.Approval != nil, []Type{ApprovalRequested, ApprovalVoted, ApprovalSettled}},
		{h.Person != nil, []Type{PersonActed}},
	} {
		if part.set != slices.Contains(part.types, h.Type) {
			return errors.New("the parts do not fit the type")
		}
	}
	if h.Type == "" {
		return errors.New("no type")
	}
	return nil
}
