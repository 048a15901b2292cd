// Package siem writes audit records as other systems read them: JSON lines
// with OpenTelemetry's names, OCSF events, and CEF in syslog messages.
//
// An event is one record with what is known of its session and its operation,
// so that each can be understood alone. The package promises that whatever a
// job wrote stays inside the field that holds it, and that what a form cannot
// hold is stated in the event. It proves nothing: only bundles are evidence.
// It does no I/O, and it is not told which of its readers may see a text;
// Event.HideTexts is for whoever knows.
package siem

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
)

// Event is one record and what is known around it.
type Event struct {
	Cluster string // empty when it is not known
	Agent   string // whose record it is
	Epoch   string
	No      uint64
	Index   int64 // of its batch in the log
	Header  record.Header
	Body    record.Body
	Session *session.Session // nil: none, or not known
	Intent  *record.Intent   // of the record's operation; nil: none, or not known

	Destroyed bool // the body was, by a shredding
	Hidden    bool // the body is kept from this event's reader
	Invalid   bool // the record is signed and makes no sense: Header and Body are empty
}

// UID names the record among all records. An event that is delivered twice has
// the same one.
func (e *Event) UID() string {
	return e.Agent + "/" + e.Epoch + "/" + strconv.FormatUint(e.No, 10)
}

// Type is the record's type.
func (e *Event) Type() record.Type {
	if e.Invalid {
		return "record.invalid"
	}
	return e.Header.Type
}

// HideTexts takes from the event what a peer wrote.
func (e *Event) HideTexts() {
	e.Body, e.Hidden = record.Body{}, true
}

// Text is what was asked for, or what an act was about. Answers are not: their
// records are chunks.
func (e *Event) Text() string {
	if e.Header.Chunk != nil || e.Header.Outcome != nil {
		return ""
	}
	if e.Body.Bytes != nil {
		return string(e.Body.Bytes)
	}
	return e.Body.Text
}

// Format is a form in which events are written, one on a line.
type Format string

// The formats.
const (
	JSONLines Format = "jsonl" // every record
	OCSF      Format = "ocsf"  // every record but chunks
	CEF       Format = "cef"   // likewise, each in a syslog message
)

// Formats lists all formats.
func Formats() []Format { return []Format{JSONLines, OCSF, CEF} }

// Append appends the event and a newline to dst; nothing when the format has
// no form for such a record.
func (f Format) Append(dst []byte, e *Event) ([]byte, error) {
	switch f {
	case JSONLines:
		return appendJSON(dst, e.line())
	case OCSF:
		if o := e.OCSF(); o != nil {
			return appendJSON(dst, o)
		}
		return dst, nil
	case CEF:
		if e.Header.Chunk != nil {
			return dst, nil
		}
		return append(e.AppendSyslog(dst), '\n'), nil
	}
	return dst, fmt.Errorf("there is no format %q", f)
}

func appendJSON(dst []byte, object map[string]any) ([]byte, error) {
	encoded, err := json.Marshal(object)
	if err != nil {
		return dst, fmt.Errorf("encode event: %w", err)
	}
	return append(append(dst, encoded...), '\n'), nil
}
