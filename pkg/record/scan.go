package record

import (
	"bytes"
	"encoding/base64"
	"slices"
	"time"
)

// Brief is what has to be known of every record, without memory of its own: the
// slices share the header's.
type Brief struct {
	No      uint64
	Type    Type
	Time    time.Time
	Session []byte
	Policy  []byte // of an intent
	Denied  bool   // as Header.Denied
	Masked  int64  // of an outcome
	Stream  []byte // of a chunk, or of the outcome's own
	Part    []byte // the intent, chunk or outcome as it was encoded
}

// BriefReader reads the headers of many records. What an intent says is mostly
// what the one before said, and what that had to be looked at for need not be
// looked at again.
type BriefReader struct {
	intent []byte // the one that was read last, as it was encoded
	policy span   // in it
	denied bool   // by it
	second []byte // of the time that was read last: 2026-11-29T19:03:08
	since  int64  // 1970, of second, in seconds
}

// span is a part of some bytes.
type span struct{ from, to int }

// Read reads the headers that every operation has, as AppendHeader writes them,
// at a fiftieth of what encoding/json costs, and is as strict. It says no to all else,
// also to what is valid and written differently: DecodeHeader judges that.
func (r *BriefReader) Read(header []byte) (Brief, bool) {
	if len(header) > MaxHeader {
		return Brief{}, false
	}
	s := scanner{rest: header, reader: r}
	var h Header
	var intent Intent
	var chunk Chunk
	var outcome Outcome
	brief := s.header(&h, &intent, &chunk, &outcome)
	return brief, s.ended()
}

// again takes an intent that is the one before, and reports whether it is.
func (r *BriefReader) again(s *scanner, b *Brief) bool {
	n := len(r.intent)
	if n == 0 || len(s.rest) < n || string(s.rest[:n]) != string(r.intent) {
		return false
	}
	b.Policy, b.Denied = s.rest[r.policy.from:r.policy.to], r.denied
	s.rest = s.rest[n:]
	return true
}

// remember keeps an intent that was read from the beginning of a text. A nil reader
// remembers nothing.
func (r *BriefReader) remember(text []byte, s *scanner, b *Brief) {
	if r == nil || s.failed || b.Policy == nil {
		return
	}
	r.intent = append(r.intent[:0], text[:len(text)-len(s.rest)]...)
	from := cap(text) - cap(b.Policy)
	r.policy, r.denied = span{from, from + len(b.Policy)}, b.Denied
}

// ValidBody reports whether a body is one that DecodeBody reads.
func ValidBody(body []byte) bool {
	if len(body) == 0 {
		return true
	}
	var raw rawBody
	if len(body) <= MaxBody && raw.scan(body, false) {
		return true
	}
	_, err := DecodeBody(body)
	return err == nil
}

// Texts is what a body holds as text, or as bytes in base64, for whoever reads
// many: it uses its memory again. What it holds shares the body's memory or its
// own, until the next Read.
type Texts struct {
	Text   []byte
	Base64 []byte   // of bytes
	Params [][]byte // those that are text

	raw    rawBody
	memory []byte
}

// Read reads the bodies that most operations have. It says no to all else, also
// to what is valid and written differently: DecodeBody judges that.
func (t *Texts) Read(body []byte) bool {
	t.Text, t.Base64, t.Params, t.memory = nil, nil, t.Params[:0], t.memory[:0]
	t.raw = rawBody{params: t.raw.params[:0]}
	if len(body) == 0 {
		return true
	}
	if len(body) > MaxBody || !t.raw.scan(body, true) {
		return false
	}
	t.memory = slices.Grow(t.memory, len(body)) // so that what was put there stays where it is
	t.Text, t.Base64 = t.plain(t.raw.text), t.raw.bytes
	for _, p := range t.raw.params {
		if p.isText {
			t.Params = append(t.Params, t.plain(p.text))
		}
	}
	return true
}

// plain returns a text without escapes.
func (t *Texts) plain(text rawText) []byte {
	if !text.escapes {
		return text.raw
	}
	start := len(t.memory)
	t.memory = text.appendTo(t.memory)
	return t.memory[start:]
}

// decodeCanonical is BriefReader.Read for a whole Header.
func decodeCanonical(data []byte) (Header, bool) {
	s := scanner{rest: data, keep: true}
	var h Header
	var intent Intent
	var chunk Chunk
	var outcome Outcome
	s.header(&h, &intent, &chunk, &outcome)
	switch h.Type {
	case OperationIntent:
		h.Intent = &intent
	case OperationChunk:
		h.Chunk = &chunk
	case OperationOutcome:
		h.Outcome = &outcome
	}
	return h, s.ended()
}

// decodeCanonicalBody does the same for bodies without a document in them.
func decodeCanonicalBody(data []byte) (b Body, ok bool) {
	var raw rawBody
	if !raw.scan(data, true) {
		return b, false
	}
	b.Text, b.More = raw.text.String(), raw.more
	if b.Bytes, ok = decode64(raw.bytes); !ok {
		return b, false
	}
	for _, p := range raw.params {
		param := Param{Null: p.null}
		if p.isText {
			text := p.text.String()
			param.Text = &text
		}
		if param.Bytes, ok = decode64(p.bytes); !ok {
			return b, false
		}
		b.Params = append(b.Params, param)
	}
	return b, true
}

func decode64(encoded []byte) ([]byte, bool) {
	if len(encoded) == 0 {
		return nil, true
	}
	decoded, err := base64.StdEncoding.AppendDecode(nil, encoded)
	return decoded, err == nil
}

func (s *scanner) header(h *Header, in *Intent, c *Chunk, o *Outcome) (b Brief) {
	h.No = s.count(`{"no":`)
	kind := s.raw(`,"type":`)
	h.Time = s.time(`,"time":`)
	h.Mono = s.number(`,"mono_ns":`)
	b.Session = s.raw(`,"session":`)
	h.Operation = s.count(`,"operation":`)
	h.Parent = s.count(`,"parent":`)
	b.No, b.Time = h.No, h.Time
	if s.keep {
		h.Session = string(b.Session)
	}
	start := s.rest
	switch string(kind) {
	case string(OperationIntent):
		h.Type = OperationIntent
		if s.reader == nil || !s.reader.again(s, &b) {
			s.intent(in, &b)
			s.reader.remember(start, s, &b)
		}
	case string(OperationChunk):
		h.Type = OperationChunk
		b.Stream = s.chunk(c)
	case string(OperationOutcome):
		h.Type = OperationOutcome
		b.Stream = s.outcome(o)
		b.Masked, b.Denied = o.Masked, o.Denied
	default:
		s.failed = true
	}
	b.Type, b.Part = h.Type, start[:len(start)-len(s.rest)]
	s.want(`}`)
	return b
}

func (s *scanner) intent(in *Intent, b *Brief) {
	in.Kind = s.wantText(`,"intent":{"kind":`)
	in.Parsed = s.flag(`,"parsed":`)
	in.ReadOnly = s.flag(`,"read_only":`)
	if s.skip(`,"statements":[`) {
		for more := true; more && !s.failed; more = s.skip(`,`) {
			one := s.statement()
			if s.keep {
				in.Statements = append(in.Statements, one)
			}
		}
		s.want(`]`)
	}
	in.Database = s.text(`,"database":`)
	in.Role = s.text(`,"role":`)
	effect := s.raw(`,"effect":`)
	in.Rule = s.text(`,"rule":`)
	in.Reason = s.text(`,"reason":`)
	b.Policy = s.raw(`,"policy":`)
	in.Approval = s.count(`,"approval":`)
	in.Decider = s.text(`,"decider":`)
	in.Observed = s.flag(`,"observed":`)
	s.want(`}`)
	b.Denied = string(effect) != "allow" && !in.Observed
	if s.keep {
		in.Effect, in.Policy = string(effect), string(b.Policy)
	}
}

func (s *scanner) statement() (st Statement) {
	st.Kind = s.wantText(`{"kind":`)
	st.Class = s.text(`,"class":`)
	if s.skip(`,"relations":[`) {
		for more := true; more && !s.failed; more = s.skip(`,`) {
			name := s.wantText(``)
			if s.keep {
				st.Relations = append(st.Relations, name)
			}
		}
		s.want(`]`)
	}
	s.want(`}`)
	return st
}

func (s *scanner) chunk(c *Chunk) (stream []byte) {
	s.want(`,"chunk":{"stream":`)
	stream = s.quoted()
	c.At = s.number(`,"at_ns":`)
	c.Size = s.number(`,"size":`)
	c.Digest = s.text(`,"digest":`)
	s.want(`}`)
	if s.keep {
		c.Stream = string(stream)
	}
	return stream
}

func (s *scanner) outcome(o *Outcome) (stream []byte) {
	o.Status = s.wantText(`,"outcome":{"status":`)
	o.Code = s.text(`,"code":`)
	o.Tag = s.text(`,"tag":`)
	o.Rows = s.number(`,"rows":`)
	o.Masked = s.number(`,"masked":`)
	o.Rule = s.text(`,"rule":`)
	o.Denied = s.flag(`,"denied":`)
	o.Duration = s.number(`,"duration_ns":`)
	o.Response = s.number(`,"response_bytes":`)
	o.Digest = s.text(`,"response_digest":`)
	if len(s.rest) > 0 && s.rest[0] == ',' {
		var c Chunk
		stream = s.chunk(&c)
		if s.keep {
			own := c
			o.Chunk = &own
		}
	}
	s.want(`}`)
	return stream
}

// rawBody is a body as it is written.
type rawBody struct {
	text   rawText
	bytes  []byte // in base64
	params []rawParam
	more   bool
}

// rawParam is a parameter that is no more than a text, bytes, NULL or empty.
type rawParam struct {
	text   rawText
	isText bool
	bytes  []byte // in base64
	null   bool
}

// scan reads a body, and keeps its parameters or only looks at their form.
func (b *rawBody) scan(data []byte, keep bool) bool {
	s := scanner{rest: data}
	s.want(`{`)
	comma := 1 // how much of a field's name is not there: the first one has no comma
	field := func(name string) string {
		if len(s.rest) < len(data)-1 {
			comma = 0
		}
		return name[comma:]
	}
	b.text = s.escaped(field(`,"text":`))
	b.bytes = s.base64(field(`,"bytes":`))
	if s.skip(field(`,"params":[`)) {
		for more := true; more && !s.failed; more = s.skip(`,`) {
			if p := s.param(); keep {
				b.params = append(b.params, p)
			}
		}
		s.want(`]`)
	}
	b.more = s.flag(field(`,"more":`))
	s.want(`}`)
	return s.ended()
}

func (s *scanner) param() (p rawParam) {
	switch before := len(s.rest); {
	case bytes.HasPrefix(s.rest, []byte(`{"text":`)):
		p.text, p.isText = s.escaped(`{"text":`), true
	case bytes.HasPrefix(s.rest, []byte(`{"bytes":`)):
		p.bytes = s.base64(`{"bytes":`)
	default:
		if p.null = s.flag(`{"null":`); len(s.rest) == before {
			s.want(`{`)
		}
	}
	s.want(`}`)
	return p
}
