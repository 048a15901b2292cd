package kubernetes

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/bits"

	"github.com/sluicegate/sluice/pkg/mask"
)

// lastApplied is the annotation in which kubectl keeps a whole object, as text.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// maxObjects is how many objects a document may have: each is remembered. Those of
// 32 MiB that a cluster has are some 300,000.
const maxObjects = 1 << 20

// maxInner is how many documents may stand in one another as text.
const maxInner = 4

// veil copies a JSON document without what is to be hidden in it. All else stays
// byte for byte.
//
// What kind an object is may stand behind what it holds. So the document is read
// twice: first for what each object says that it is, in the order in which they
// begin, and then to copy it.
type veil struct {
	masks *mask.Set
	// put appends what stands for a value of an object of that kind, as JSON.
	put func(dst []byte, by *mask.Kind, as coding, value []byte) []byte
	// clean appends a text without secrets, and says how many there were; null
	// says that there shall be no text at all.
	clean func(dst, text []byte) (out []byte, found int, null bool)
	// guarded says that an error's words may repeat what is hidden, whatever they
	// say.
	guarded bool

	src    []byte
	pos    int
	stated []stated // of each object
	next   int      // the object that begins next
	inner  int      // how deep in texts of texts
	dst    []byte
	hidden int
}

// stated is which of the masks' kinds an object says that it is, and that its
// items are, as bits. One that says it twice is both. What has no part that
// objects have only refers to one, or describes the kind.
type stated struct {
	own, items uint64
	whole      bool
	errs       bool // it is a Status
	harmless   bool // of an error that repeats no values
}

// around is what is known of a value by what it stands in.
type around struct {
	is      uint64     // objects here are of these kinds, whatever they say
	applied uint64     // kinds of the object that a last-applied annotation here tells of
	within  *mask.Kind // all here is hidden, by this mask
	as      coding     // of a text that is hidden
	only    string     // but only what has this name
	// Messages here are an error's, of a reason by which they repeat nothing.
	errs, harmless bool
}

// document appends a document. It returns false for what is not JSON, or too
// much of it.
func (v *veil) document(dst, document []byte, is uint64) (out []byte, ok bool) {
	if !json.Valid(document) || bytes.Count(document, []byte("{")) > maxObjects {
		return dst, false
	}
	v.src, v.pos, v.stated, v.next, v.dst = document, 0, v.stated[:0], 0, dst
	v.state()
	v.pos = 0
	v.value(around{is: is})
	v.take(len(document))
	return v.dst, true
}

// state reads one value, and what every object in it says that it is.
func (v *veil) state() {
	v.pos = skipSpace(v.src, v.pos)
	switch v.src[v.pos] {
	case '{':
		at := len(v.stated)
		v.stated = append(v.stated, stated{})
		v.each('}', func() {
			name := decoded(v.quoted())
			v.pos = skipSpace(v.src, v.pos) + 1 // the colon
			v.pos = skipSpace(v.src, v.pos)
			if string(name) == "kind" && v.src[v.pos] == '"' {
				kind := decoded(v.quoted())
				own, items := v.kinds(kind)
				v.stated[at].errs = v.stated[at].errs || string(kind) == "Status"
				v.stated[at].own |= own
				v.stated[at].items |= items
				return
			}
			if string(name) == "reason" && v.src[v.pos] == '"' {
				v.stated[at].harmless = isHarmless(decoded(v.src[v.pos:stringEnd(v.src, v.pos)]))
			}
			v.stated[at].whole = v.stated[at].whole || isPart(name)
			v.state()
		})
	case '[':
		v.each(']', v.state)
	case '"':
		v.pos = stringEnd(v.src, v.pos)
	default:
		v.pos = scalarEnd(v.src, v.pos)
	}
}

// kinds is what an object of that kind is to the masks, and what its items are.
func (v *veil) kinds(name []byte) (own, items uint64) {
	for i := range v.masks.Kinds {
		switch kind := v.masks.Kinds[i].Kind; string(name) {
		case kind:
			own |= 1 << i
		case kind + "List":
			items |= 1 << i
		}
	}
	return own, items
}

// each calls visit at each member of an object or element of a list, up to its
// closing.
func (v *veil) each(closing byte, visit func()) {
	v.pos = skipSpace(v.src, v.pos+1)
	for v.src[v.pos] != closing {
		visit()
		if v.pos = skipSpace(v.src, v.pos); v.src[v.pos] == ',' {
			v.pos = skipSpace(v.src, v.pos+1)
		}
	}
	v.pos++
}

// quoted returns a string with its quotes, and goes behind it.
func (v *veil) quoted() []byte {
	from := v.pos
	v.pos = stringEnd(v.src, v.pos)
	return v.src[from:v.pos]
}

// take copies up to end.
func (v *veil) take(end int) {
	v.dst = append(v.dst, v.src[v.pos:end]...)
	v.pos = end
}

// through copies what each goes through.
func (v *veil) through(closing byte, visit func()) {
	v.take(skipSpace(v.src, v.pos+1))
	for v.src[v.pos] != closing {
		visit()
		v.take(skipSpace(v.src, v.pos))
		if v.src[v.pos] == ',' {
			v.take(skipSpace(v.src, v.pos+1))
		}
	}
	v.take(v.pos + 1)
}

// value copies a value.
func (v *veil) value(at around) {
	v.take(skipSpace(v.src, v.pos))
	switch v.src[v.pos] {
	case '{':
		v.object(at)
	case '[':
		v.through(']', func() { v.value(at) })
	case '"':
		text := v.quoted()
		if at.within != nil && at.only == "" {
			v.hide(at, decoded(text))
			return
		}
		v.text(text, "null")
	default:
		v.scalar(at)
	}
}

// object copies an object.
func (v *veil) object(at around) {
	said := v.stated[v.next]
	v.next++
	own := said.own | at.is
	if !said.whole {
		own &= v.known()
	}
	v.through('}', func() {
		quoted := v.quoted()
		name := decoded(quoted)
		v.text(quoted, `"[redacted]"`)
		v.take(skipSpace(v.src, v.pos))
		v.take(v.pos + 1) // the colon
		v.take(skipSpace(v.src, v.pos))
		inside := v.member(at, own, said, name)
		if isWords(name) && v.src[v.pos] == '"' && inside.within == nil && len(v.masks.Kinds) > 0 && v.words(inside) {
			return
		}
		if string(name) == lastApplied && v.src[v.pos] == '"' && inside.within == nil {
			v.configuration(inside.applied)
			return
		}
		v.value(inside)
	})
}

// known are the kinds of which it is known what matters, as bits.
func (v *veil) known() (bits uint64) {
	for i := range v.masks.Kinds {
		if ownKind(v.masks.Kinds[i].Kind) {
			bits |= 1 << i
		}
	}
	return bits
}

// member is what is known of a member's value.
func (v *veil) member(at around, own uint64, said stated, name []byte) around {
	inside := around{applied: at.applied, within: at.within, as: at.as, only: at.only, errs: at.errs, harmless: at.harmless}
	if said.errs {
		inside.errs, inside.harmless = true, said.harmless && (at.harmless || !at.errs)
	}
	if own != 0 {
		inside.applied = own
	}
	if at.within != nil {
		if at.only == string(name) {
			inside.only = ""
		}
		return inside
	}
	switch string(name) {
	case "items":
		inside.is = at.is | said.items
	case "object", "rows": // of a watch's event, of a Table and its rows
		inside.is = at.is
	}
	for rest := own; rest != 0; rest &= rest - 1 {
		kind := &v.masks.Kinds[bits.TrailingZeros64(rest)]
		if part, hides := hiddenPart(kind.Kind, string(name)); hides {
			inside.within, inside.as, inside.only = kind, part.as, part.only
			return inside
		}
	}
	return inside
}

// configuration copies a last-applied annotation: an object in a text. One that
// cannot be read tells nothing, in a form that kubectl takes.
func (v *veil) configuration(is uint64) {
	text := v.quoted()
	out, found, ok := v.within(decoded(text), is)
	switch {
	case !ok && (is != 0 || v.inner == maxInner):
		v.hidden++
		v.dst = append(v.dst, `"{}"`...)
	case !ok || found == 0:
		v.text(text, "null")
	default:
		v.hidden += found
		v.dst = appendQuoted(v.dst, out)
	}
}

// within is a document that stands in a text.
func (v *veil) within(text []byte, is uint64) (out []byte, found int, ok bool) {
	if v.inner == maxInner || !isDocument(text) {
		return nil, 0, false
	}
	other := veil{masks: v.masks, put: v.put, clean: v.clean, inner: v.inner + 1}
	out, ok = other.document(nil, text, is)
	return out, other.hidden, ok
}

// hide puts what stands for a text in its place.
func (v *veil) hide(at around, text []byte) {
	v.hidden++
	v.dst = v.put(v.dst, at.within, at.as, text)
}

// scalar copies a number, true, false or null.
func (v *veil) scalar(at around) {
	end := scalarEnd(v.src, v.pos)
	text := v.src[v.pos:end]
	hide := at.within != nil && at.only == "" && string(text) != "null"
	if !hide && len(v.masks.Detect) > 0 && text[0] != 'n' {
		hide = v.finds(text)
	}
	if !hide {
		v.take(end)
		return
	}
	v.hidden++
	v.dst = append(v.dst, "null"...) // which any client takes for no number
	v.pos = end
}

// text copies a string of which all but secrets may be seen; gone stands for
// one that a mask wants to be nothing. An object that stands in it as text is
// looked into, and so is what it is in base64.
func (v *veil) text(quoted []byte, gone string) {
	plain := decoded(quoted)
	if len(v.masks.Kinds) > 0 && isDocument(plain) && bytes.Contains(plain, []byte("kind")) {
		if v.inner == maxInner {
			v.hidden++
			v.dst = append(v.dst, `"[redacted]"`...)
			return
		}
		if out, found, ok := v.within(plain, 0); ok && found > 0 {
			v.hidden += found
			v.dst = appendQuoted(v.dst, out)
			return
		}
	}
	if len(v.masks.Detect) == 0 {
		v.dst = append(v.dst, quoted...)
		return
	}
	var out []byte
	var found int
	var null bool
	if v.finds(plain) {
		out, found, null = v.clean(nil, plain)
	} else if binary, ok := readable(plain); ok && v.finds(binary) {
		out, found, null = v.clean(nil, binary)
		out = base64.StdEncoding.AppendEncode(nil, out)
	}
	v.hidden += found
	switch {
	case found == 0:
		v.dst = append(v.dst, quoted...)
	case null:
		v.dst = append(v.dst, gone...)
	default:
		v.dst = appendQuoted(v.dst, out)
	}
}

func (v *veil) finds(text []byte) bool { return finds(v.masks, text) }
