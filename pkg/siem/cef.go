package siem

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// What a field may take, in bytes as written. CEF's dictionary allows msg 1023
// and our other fields no less than 63 or 255; all together stay below the 8192
// bytes that every receiver of syslog over TLS should take (RFC 5425 §4.3.1).
const (
	maxText  = 1023 // msg
	maxField = 255
	maxShort = 63
)

// cef builds one message of the ArcSight Common Event Format, revision 25.
type cef struct{ dst []byte }

// appendCEF appends the event as a CEF message without a newline in it.
func appendCEF(dst []byte, e *Event) []byte {
	j := e.judge()
	m := cef{append(dst, "CEF:0"...)}
	m.head("Sluicegate")
	m.head("Sluice")
	m.head(record.Schema)
	m.head(string(e.Type()))
	m.head(title(e.Type()))
	m.head(strconv.Itoa(cefSeverity(j.severity)))
	m.dst = append(m.dst, '|')
	m.facts(e, &j)
	m.custom(e)
	m.text(e)
	return m.dst
}

// cefSeverity maps to CEF's 0 to 10: 0–3 is Low, 4–6 Medium, 7–8 High.
func cefSeverity(s severity) int {
	return [...]int{informational: 1, low: 3, medium: 6, high: 8}[s]
}

func (m *cef) facts(e *Event, j *judgement) {
	m.number("rt", e.millis())
	m.field("dvchost", e.Agent, maxField)
	m.field("externalId", e.UID(), maxField)
	m.field("act", j.action.String(), maxShort)
	m.field("outcome", strings.ToLower(j.status.String()), maxShort)
	m.field("reason", j.detail, maxField)
	if s := e.Session; s != nil {
		m.field("app", s.Protocol, maxShort)
		if s.Destination.IsValid() {
			m.field("dst", s.Destination.Addr().String(), maxShort)
			m.field("dpt", strconv.Itoa(int(s.Destination.Port())), maxShort)
		}
		m.field("sproc", s.Workload.Kernel.Exe, maxField)
		m.number("spid", int64(s.Workload.Kernel.PID))
		m.field("shost", s.Workload.Orch.Name, maxField)
	}
	if in := e.Intent; in != nil {
		m.field("duser", in.Role, maxField)
	}
	if p := e.Header.Person; p != nil {
		m.field("src", p.From, maxShort)
	}
	if user := e.person(); user != nil {
		m.field("suser", user["name"].(string), maxField) // person makes it a string
	}
	if o := e.Header.Outcome; o != nil {
		m.number("out", o.Response)
	}
}

// custom writes the fields whose names we choose.
func (m *cef) custom(e *Event) {
	h := &e.Header
	m.label("cs1", "session", h.Session)
	if e.Session != nil {
		m.label("cs2", "resource", e.Session.Resource)
		m.label("cs6", "repository", e.Session.Workload.Repository())
	}
	rule, _ := e.rule()
	m.label("cs3", "rule", rule)
	if in := e.Intent; in != nil {
		kinds := make([]string, 0, 1+len(in.Statements))
		kinds = append(kinds, in.Kind)
		for _, s := range in.Statements {
			kinds = append(kinds, s.Kind)
		}
		m.label("cs4", "operation", strings.Join(kinds, "; "))
		m.label("cs5", "database", in.Database)
	}
	if h.Operation > 0 {
		m.label("cn1", "operation", strconv.FormatUint(h.Operation, 10))
	}
	if o := h.Outcome; o != nil {
		m.label("cn2", "rows", strconv.FormatInt(o.Rows, 10))
		m.label("cn3", "masked", strconv.FormatInt(o.Masked, 10))
	}
	if a := h.Approval; a != nil {
		m.label("cs4", "approval", a.State)
		m.label("cn2", "approval", strconv.FormatUint(a.Number, 10))
	}
	if a := h.Alert; a != nil {
		m.label("cs4", "alert", a.Kind)
		m.label("cn2", "count", strconv.FormatUint(a.Count, 10))
	}
	if p := h.Person; p != nil {
		m.label("cs4", "act", p.Act)
	}
	if o := h.Order; o != nil {
		m.label("cs4", "order", o.Kind)
	}
}

// text writes what was asked for, as much as msg may hold, and how long it is.
func (m *cef) text(e *Event) {
	switch {
	case e.Destroyed:
		m.label("flexString1", "text", "destroyed")
	case e.Hidden:
		m.label("flexString1", "text", "hidden")
	}
	text := e.Text()
	m.field("msg", text, maxText)
	if text != "" {
		m.label("flexNumber1", "textBytes", strconv.Itoa(len(text)))
	}
}

func (m *cef) number(key string, value int64) {
	if value != 0 {
		m.field(key, strconv.FormatInt(value, 10), maxShort)
	}
}

func (m *cef) label(key, label, value string) {
	if value == "" {
		return
	}
	m.field(key, value, maxField)
	m.field(key+"Label", label, maxShort)
}

// head writes a field of the header, in which backslash and pipe are escaped.
func (m *cef) head(value string) {
	m.dst = append(m.dst, '|')
	m.value(value, maxField, "|")
}

// field writes an extension, in which backslash and equals sign are escaped.
// Nothing is written for an empty value.
func (m *cef) field(key, value string, limit int) {
	if value == "" {
		return
	}
	if m.dst[len(m.dst)-1] != '|' {
		m.dst = append(m.dst, ' ')
	}
	m.dst = append(append(m.dst, key...), '=')
	m.value(value, limit, "=")
}

// value writes what fits into limit bytes, and "…" for the rest. A line end
// stays one, written \n.
func (m *cef) value(value string, limit int, special string) {
	limit += len(m.dst) - len("…")
	for _, r := range value {
		if len(m.dst) >= limit {
			m.dst = append(m.dst, "…"...)
			return
		}
		switch {
		case r == '\\' || strings.ContainsRune(special, r):
			m.dst = append(m.dst, '\\', byte(r))
		case r == '\n':
			m.dst = append(m.dst, '\\', 'n')
		case r == '\r':
			m.dst = append(m.dst, '\\', 'r')
		default:
			m.dst = utf8.AppendRune(m.dst, onLine(r))
		}
	}
}

// onLine returns r, or U+FFFD for what could end a line, move a cursor or turn
// the text around for whoever reads it.
func onLine(r rune) rune {
	if r == '\t' || operation.Visible(r) {
		return r
	}
	return utf8.RuneError
}

// title says a type in words.
func title(t record.Type) string {
	if words, known := titles[t]; known {
		return words
	}
	return "Record of a newer kind"
}

var titles = map[record.Type]string{
	record.AgentStarted:      "Agent started",
	record.AgentAlert:        "Agent saw what must not happen",
	record.AgentOrder:        "Agent obeys an order",
	record.AgentPolicy:       "Agent has another policy",
	record.SessionOpened:     "Session opened",
	record.SessionClosed:     "Session closed",
	record.OperationIntent:   "Operation decided",
	record.OperationOutcome:  "Operation ended",
	record.ApprovalRequested: "Approval requested",
	record.ApprovalVoted:     "Approval voted",
	record.ApprovalSettled:   "Approval settled",
	record.PersonActed:       "Person acted",
	"record.invalid":         "Record is invalid",
}
