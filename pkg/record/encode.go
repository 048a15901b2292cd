package record

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/operation"
)

// AppendHeader appends the encoding of h to dst: one JSON object in UTF-8, with
// the fields of Header and their names. What every operation writes (intent,
// chunk, outcome) is encoded by hand, because it stands on the path of the
// operation; encoding/json reads all of it back.
func AppendHeader(dst []byte, h *Header) ([]byte, error) {
	if h.Time.Year() < 1970 || h.Time.Year() > 9999 {
		return dst, errors.New("encode header: the time is out of range")
	}
	dst = append(dst, `{"no":`...)
	dst = strconv.AppendUint(dst, h.No, 10)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, string(h.Type))
	dst = append(dst, `,"time":"`...)
	dst = h.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","mono_ns":`...)
	dst = strconv.AppendInt(dst, h.Mono, 10)
	dst = appendStringField(dst, `,"session":`, h.Session)
	dst = appendUintField(dst, `,"operation":`, h.Operation)
	dst = appendUintField(dst, `,"parent":`, h.Parent)
	if h.Intent != nil {
		dst = appendIntent(append(dst, `,"intent":`...), h.Intent)
	}
	if h.Chunk != nil {
		dst = appendChunk(append(dst, `,"chunk":`...), h.Chunk)
	}
	if h.Outcome != nil {
		dst = appendOutcome(append(dst, `,"outcome":`...), h.Outcome)
	}
	dst, err := appendRareParts(dst, h)
	return append(dst, '}'), err
}

// appendRareParts appends what is written once per session or less.
func appendRareParts(dst []byte, h *Header) (_ []byte, err error) {
	switch {
	case h.Agent != nil:
		dst, err = appendPart(dst, `,"agent":`, *h.Agent)
	case h.Alert != nil:
		dst, err = appendPart(dst, `,"alert":`, *h.Alert)
	case h.Order != nil:
		dst, err = appendPart(dst, `,"order":`, *h.Order)
	case h.Opened != nil:
		dst, err = appendPart(dst, `,"opened":`, *h.Opened)
	case h.Closed != nil:
		dst, err = appendPart(dst, `,"closed":`, *h.Closed)
	case h.Approval != nil:
		dst, err = appendPart(dst, `,"approval":`, *h.Approval)
	case h.Person != nil:
		dst, err = appendPart(dst, `,"person":`, *h.Person)
	}
	return dst, err
}

// appendPart takes the part's value: what a header points to may so be on its
// caller's stack.
func appendPart[T any](dst []byte, name string, value T) ([]byte, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return dst, fmt.Errorf("encode header%s: %w", name, err)
	}
	return append(append(dst, name...), encoded...), nil
}

func appendIntent(dst []byte, in *Intent) []byte {
	dst = append(dst, `{"kind":`...)
	dst = appendString(dst, in.Kind)
	dst = append(dst, `,"parsed":`...)
	dst = strconv.AppendBool(dst, in.Parsed)
	dst = append(dst, `,"read_only":`...)
	dst = strconv.AppendBool(dst, in.ReadOnly)
	if len(in.Statements) > 0 {
		dst = append(dst, `,"statements":[`...)
		for i, s := range in.Statements {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendStatement(dst, s)
		}
		dst = append(dst, ']')
	}
	if in.SSH != nil {
		dst = appendFacts(append(dst, `,"ssh":`...), in.SSH)
	}
	if in.Git != nil {
		dst = appendFacts(append(dst, `,"git":`...), in.Git)
	}
	if in.Kube != nil {
		dst = in.Kube.append(append(dst, `,"kube":`...))
	}
	if in.HTTP != nil {
		dst = in.HTTP.append(append(dst, `,"http":`...))
	}
	dst = appendStringField(dst, `,"database":`, in.Database)
	dst = appendStringField(dst, `,"role":`, in.Role)
	dst = append(dst, `,"effect":`...)
	dst = appendString(dst, in.Effect)
	dst = appendStringField(dst, `,"rule":`, in.Rule)
	dst = appendStringField(dst, `,"reason":`, in.Reason)
	dst = append(dst, `,"policy":`...)
	dst = appendString(dst, in.Policy)
	dst = appendUintField(dst, `,"approval":`, in.Approval)
	dst = appendStringField(dst, `,"decider":`, in.Decider)
	if in.Observed {
		dst = append(dst, `,"observed":true`...)
	}
	return append(dst, '}')
}

// appendFacts appends what one protocol alone says of an operation.
func appendFacts[T SSH | Git](dst []byte, facts *T) []byte {
	encoded, err := json.Marshal(facts)
	if err != nil {
		panic(err) // only for values that JSON cannot have
	}
	return append(dst, encoded...)
}

func appendStatement(dst []byte, s Statement) []byte {
	dst = append(dst, `{"kind":`...)
	dst = appendString(dst, s.Kind)
	dst = append(dst, `,"class":`...)
	dst = appendString(dst, s.Class)
	if len(s.Relations) > 0 {
		dst = append(dst, `,"relations":[`...)
		for i, name := range s.Relations {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, name)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendChunk(dst []byte, c *Chunk) []byte {
	dst = append(dst, `{"stream":`...)
	dst = appendString(dst, c.Stream)
	dst = append(dst, `,"at_ns":`...)
	dst = strconv.AppendInt(dst, c.At, 10)
	dst = append(dst, `,"size":`...)
	dst = strconv.AppendInt(dst, c.Size, 10)
	dst = appendStringField(dst, `,"digest":`, c.Digest)
	return append(dst, '}')
}

func appendOutcome(dst []byte, o *Outcome) []byte {
	dst = append(dst, `{"status":`...)
	dst = appendString(dst, o.Status)
	dst = appendStringField(dst, `,"code":`, o.Code)
	dst = appendStringField(dst, `,"tag":`, o.Tag)
	dst = appendIntField(dst, `,"rows":`, o.Rows)
	dst = appendIntField(dst, `,"masked":`, o.Masked)
	dst = appendStringField(dst, `,"rule":`, o.Rule)
	if o.Denied {
		dst = append(dst, `,"denied":true`...)
	}
	dst = append(dst, `,"duration_ns":`...)
	dst = strconv.AppendInt(dst, o.Duration, 10)
	dst = appendIntField(dst, `,"response_bytes":`, o.Response)
	dst = appendStringField(dst, `,"response_digest":`, o.Digest)
	if o.Chunk != nil {
		dst = appendChunk(append(dst, `,"chunk":`...), o.Chunk)
	}
	return append(dst, '}')
}

// AppendBody appends the encoding of b to dst; nothing when b is empty. Extra
// is copied as it is and must be valid JSON.
func AppendBody(dst []byte, b *Body) ([]byte, error) {
	if b.Text == "" && len(b.Bytes) == 0 && len(b.Params) == 0 && !b.More && len(b.Extra) == 0 {
		return dst, nil
	}
	start := len(dst)
	dst = appendStringField(dst, `,"text":`, b.Text)
	dst = appendBytesField(dst, `,"bytes":`, b.Bytes)
	if len(b.Params) > 0 {
		dst = append(dst, `,"params":[`...)
		for i := range b.Params {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendParam(dst, &b.Params[i])
		}
		dst = append(dst, ']')
	}
	if b.More {
		dst = append(dst, `,"more":true`...)
	}
	if len(b.Extra) > 0 {
		if !json.Valid(b.Extra) {
			return dst[:start], errors.New("encode body: extra is not JSON")
		}
		dst = append(append(dst, `,"extra":`...), b.Extra...)
	}
	dst[start] = '{' // each field begins with a comma; the first one opens the object
	return append(dst, '}'), nil
}

// AppendRequest appends the encoding of a body that holds a request with its
// parameters, as AppendBody would and without a copy of it. It returns false, and dst
// as it was, for what is larger than limit, is no text or must not be kept.
func AppendRequest(dst []byte, text operation.Text, params []operation.Param, limit int) ([]byte, bool) {
	const perParam = 128 // bytes of a parameter's encoding beside its value, generously
	size := len(text) + len(params)*perParam
	whole := utf8.Valid(text)
	for i := range params {
		p := &params[i]
		size += len(p.Text)
		whole = whole && !p.Sealed && (!p.Binary || len(p.Text) == 0) && utf8.Valid(p.Text)
	}
	if !whole || size > limit {
		return dst, false
	}
	start := len(dst)
	if len(text) > 0 {
		dst = appendString(append(dst, `,"text":`...), text)
	}
	for i := range params {
		if i == 0 {
			dst = append(dst, `,"params":[`...)
		} else {
			dst = append(dst, ',')
		}
		if params[i].Text == nil {
			dst = append(dst, `{"null":true}`...)
			continue
		}
		dst = append(appendString(append(dst, `{"text":`...), params[i].Text), '}')
	}
	if len(params) > 0 {
		dst = append(dst, ']')
	}
	if len(dst) == start {
		return dst, true
	}
	dst[start] = '{' // as in AppendBody
	return append(dst, '}'), true
}

func appendParam(dst []byte, p *Param) []byte {
	start := len(dst)
	if p.Text != nil {
		dst = appendString(append(dst, `,"text":`...), *p.Text)
	}
	dst = appendBytesField(dst, `,"bytes":`, p.Bytes)
	if p.Null {
		dst = append(dst, `,"null":true`...)
	}
	dst = appendStringField(dst, `,"sealed":`, p.Sealed)
	dst = appendIntField(dst, `,"length":`, int64(p.Length))
	if len(dst) == start {
		return append(dst, '{', '}')
	}
	dst[start] = '{'
	return append(dst, '}')
}

func appendStringField(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendString(append(dst, name...), value)
}

func appendUintField(dst []byte, name string, value uint64) []byte {
	if value == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, name...), value, 10)
}

func appendIntField(dst []byte, name string, value int64) []byte {
	if value == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), value, 10)
}

func appendBytesField(dst []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	dst = append(append(dst, name...), '"')
	dst = base64.StdEncoding.AppendEncode(dst, value)
	return append(dst, '"')
}

// appendString appends s as a JSON string (RFC 8259 §7). Only what must be
// escaped is; bytes that are not UTF-8 become U+FFFD, as in encoding/json.
func appendString[T string | operation.Text](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0 // s[plain:i] is still to be copied
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[plain:i]...), `\ufffd`...)
				plain = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[plain:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		plain = i
	}
	return append(append(dst, s[plain:]...), '"')
}
