package record

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// decodeCanonical reads the headers that every operation has, as AppendHeader
// writes them, at a tenth of what encoding/json costs. It says no to all else,
// also to what is valid and written differently: decode judges that.
//
// The reader below need not be strict, because its result is encoded again and
// must give data. So nothing is accepted here that has a second meaning.
func decodeCanonical(data []byte) (Header, bool) {
	r := reader{rest: string(data)}
	h := Header{No: r.count(`{"no":`), Type: Type(r.text(`,"type":`))}
	h.Time, _ = time.Parse(time.RFC3339Nano, r.text(`,"time":`))
	h.Mono = r.number(`,"mono_ns":`)
	h.Session = r.text(`,"session":`)
	h.Operation = r.count(`,"operation":`)
	h.Parent = r.count(`,"parent":`)
	switch h.Type {
	case OperationIntent:
		h.Intent = r.intent()
	case OperationChunk:
		h.Chunk = r.chunk()
	case OperationOutcome:
		h.Outcome = r.outcome()
	default:
		return Header{}, false
	}
	again, err := AppendHeader(make([]byte, 0, len(data)), &h)
	return h, err == nil && bytes.Equal(again, data)
}

// decodeCanonicalBody does the same for bodies of a text or bytes and of plain
// parameters. What needed escapes is decode's.
func decodeCanonicalBody(data []byte) (Body, bool) {
	if len(data) == 0 || data[0] != '{' {
		return Body{}, false
	}
	r := reader{rest: "," + string(data[1:])} // each field begins with a comma
	b := Body{Text: r.text(`,"text":`), Bytes: r.bytes(`,"bytes":`)}
	for more := r.skip(`,"params":[`); more && r.at('{'); more = r.skip(`,`) {
		b.Params = append(b.Params, r.param())
	}
	r.skip(`]`)
	b.More = r.flag(`,"more":`)
	again, err := AppendBody(make([]byte, 0, len(data)), &b)
	return b, err == nil && bytes.Equal(again, data)
}

func (r *reader) param() (p Param) {
	switch {
	case r.skip(`{"text":`):
		text := r.text(``)
		p.Text = &text
	case r.at('{'):
		p.Bytes = r.bytes(`{"bytes":`)
		p.Null = r.flag(`{"null":`)
	}
	r.skip(`}`)
	return p
}

func (r *reader) intent() *Intent {
	in := &Intent{Kind: r.text(`,"intent":{"kind":`), Parsed: r.flag(`,"parsed":`), ReadOnly: r.flag(`,"read_only":`)}
	for more := r.skip(`,"statements":[`); more && r.at('{'); more = r.skip(`,`) {
		in.Statements = append(in.Statements, r.statement())
	}
	r.skip(`]`)
	in.Database = r.text(`,"database":`)
	in.Role = r.text(`,"role":`)
	in.Effect = r.text(`,"effect":`)
	in.Rule = r.text(`,"rule":`)
	in.Reason = r.text(`,"reason":`)
	in.Policy = r.text(`,"policy":`)
	in.Approval = r.count(`,"approval":`)
	in.Decider = r.text(`,"decider":`)
	in.Observed = r.flag(`,"observed":`)
	return in
}

func (r *reader) statement() Statement {
	s := Statement{Kind: r.text(`{"kind":`), Class: r.text(`,"class":`)}
	for more := r.skip(`,"relations":[`); more && r.at('"'); more = r.skip(`,`) {
		s.Relations = append(s.Relations, r.text(``))
	}
	r.skip(`]`)
	r.skip(`}`)
	return s
}

func (r *reader) chunk() *Chunk {
	return &Chunk{
		Stream: r.text(`,"chunk":{"stream":`),
		At:     r.number(`,"at_ns":`),
		Size:   r.number(`,"size":`),
		Digest: r.text(`,"digest":`),
	}
}

func (r *reader) outcome() *Outcome {
	o := &Outcome{
		Status:   r.text(`,"outcome":{"status":`),
		Code:     r.text(`,"code":`),
		Tag:      r.text(`,"tag":`),
		Rows:     r.number(`,"rows":`),
		Masked:   r.number(`,"masked":`),
		Rule:     r.text(`,"rule":`),
		Duration: r.number(`,"duration_ns":`),
		Response: r.number(`,"response_bytes":`),
		Digest:   r.text(`,"response_digest":`),
	}
	if r.at(',') {
		o.Chunk = r.chunk()
	}
	return o
}

// reader takes fields in their order. A field that is not next has its zero
// value.
type reader struct{ rest string }

func (r *reader) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(r.rest, prefix)
	r.rest = rest
	return ok
}

func (r *reader) at(next byte) bool { return r.rest != "" && r.rest[0] == next }

// text reads a string without escapes.
func (r *reader) text(name string) string {
	rest, ok := strings.CutPrefix(r.rest, name)
	if !ok || !strings.HasPrefix(rest, `"`) {
		return ""
	}
	value, rest, _ := strings.Cut(rest[1:], `"`)
	r.rest = rest
	return value
}

// bytes reads a string in base64.
func (r *reader) bytes(name string) []byte {
	found := r.text(name)
	if found == "" {
		return nil
	}
	value, _ := base64.StdEncoding.DecodeString(found) // what is no base64 is not encoded as it was
	return value
}

func (r *reader) flag(name string) bool {
	if !r.skip(name) {
		return false
	}
	return r.skip("true") || !r.skip("false")
}

// digits cuts a number off.
func (r *reader) digits(name string) string {
	if !r.skip(name) {
		return "0"
	}
	end := 0
	for end < len(r.rest) && (r.rest[end] == '-' || r.rest[end] >= '0' && r.rest[end] <= '9') {
		end++
	}
	found := r.rest[:end]
	r.rest = r.rest[end:]
	return found
}

func (r *reader) count(name string) uint64 {
	n, _ := strconv.ParseUint(r.digits(name), 10, 64) // what is no number is not encoded as it was
	return n
}

func (r *reader) number(name string) int64 {
	n, _ := strconv.ParseInt(r.digits(name), 10, 64) // likewise
	return n
}
