package record

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
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
func appendRareParts(dst []byte, h *Header) ([]byte, error) {
	var errs []error
	part := func(name string, value any, set bool) {
		if !set {
			return
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			errs = append(errs, fmt.Errorf("encode %s: %w", name, err))
			return
		}
		dst = append(append(append(dst, `,"`...), name...), `":`...)
		dst = append(dst, encoded...)
	}
	part("agent", h.Agent, h.Agent != nil)
	part("alert", h.Alert, h.Alert != nil)
	part("order", h.Order, h.Order != nil)
	part("opened", h.Opened, h.Opened != nil)
	part("closed", h.Closed, h.Closed != nil)
	part("approval", h.Approval, h.Approval != nil)
	part("person", h.Person, h.Person != nil)
	return dst, errors.Join(errs...)
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
		panic(err) // only for values that are not of strings alone
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
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0 // s[plain:i] is still to be copied
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
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
