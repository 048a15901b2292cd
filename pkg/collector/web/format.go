package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/workload"
)

// functions are what templates can call.
var functions = template.FuncMap{
	"asset":      assetURL,
	"ago":        ago,
	"stamp":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"clock":      clock,
	"lasted":     lasted,
	"span":       span,
	"safe":       view.Printable,
	"line":       func(text string) string { return view.OneLine(text, 240) },
	"brief":      func(text string) string { return view.OneLine(text, 64) },
	"long":       func(text string) string { return view.OneLine(text, 1<<10) },
	"short":      short,
	"answer":     answer,
	"terminal":   terminal,
	"inner":      inner,
	"pieces":     pieces,
	"join":       strings.Join,
	"provenance": provenance,
	"runName":    runName,
	"claim":      claim,
	"name":       func(w workload.Workload) string { return view.Name(&w) },
	"runLink":    func(run string) string { return "/run?run=" + template.URLQueryEscaper(run) },
	"refs":       shortID,
	"count":      count,
	"bytes":      operation.Size,
}

// ago says how long ago a time was, in one unit.
func ago(t time.Time) string {
	if d := time.Since(t); d >= 0 {
		return span(d) + " ago"
	}
	return "in " + span(time.Until(t))
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// span is a duration in one unit, as people say it.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

func lasted(s view.Session) string {
	if s.Ended == nil {
		return "open"
	}
	return span(s.Ended.Sub(s.Started))
}

// short cuts an id that nobody reads whole.
func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

func shortID(id string) string {
	if id == "" {
		return "nothing"
	}
	return short(id)
}

// count writes a number with thin spaces between thousands.
func count(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return digits
}

// provenance splits a run into how it is known and its name.
func provenance(run string) string {
	kind, _, _ := strings.Cut(run, ":")
	return kind
}

func runName(run string) string {
	kind, name, _ := strings.Cut(run, ":")
	if kind == "container" {
		return short(name)
	}
	return view.OneLine(name, 80)
}

// claim is a claim's value as its token wrote it, but for space and for times
// (RFC 7519 section 4.1).
func claim(name string, value any) string {
	switch v := value.(type) {
	case string:
		return v
	case float64:
		if name == "exp" || name == "iat" || name == "nbf" {
			return clock(time.Unix(int64(v), 0)) + " UTC"
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "?"
	}
	return string(text)
}

// told is an operation's answer, ready to be shown.
type told struct {
	Lines   []view.Line
	Missing int64 // bytes of which only digest and size were kept
	Cut     int   // lines that are not shown
}

// maxLines bounds the lines of one answer on a page; the records have all.
const maxLines = 200

func answer(protocol string, op *view.Operation) told {
	var t told
	var response []byte
	for _, c := range op.Chunks {
		switch {
		case c.Stream != streamResponse && c.Stream != streamErrors:
		case c.Data == nil:
			t.Missing += c.Size
		default:
			response = append(response, c.Data...)
		}
	}
	t.Lines = view.Transcript(protocol, response)
	if len(t.Lines) > maxLines {
		t.Cut = len(t.Lines) - maxLines
		t.Lines = t.Lines[:maxLines]
	}
	return t
}

// piece is a part of a text: a mask, or what stands between two.
type piece struct {
	Text string
	Mask bool
}

// masked is what pkg/mask and pkg/audit put in the place of a value.
var masked = regexp.MustCompile(`\[redacted\]|\[sealed hmac-sha256:[0-9a-f]{16} [0-9]+ bytes\]`)

// pieces makes the masks of a text visible as masks.
func pieces(text string) []piece {
	text = view.Printable(text)
	var out []piece
	at := 0
	for _, found := range masked.FindAllStringIndex(text, -1) {
		if found[0] > at {
			out = append(out, piece{Text: text[at:found[0]]})
		}
		mask := text[found[0]:found[1]]
		if strings.HasPrefix(mask, "[sealed") {
			mask = "[sealed]"
		}
		out = append(out, piece{mask, true})
		at = found[1]
	}
	if at < len(text) {
		out = append(out, piece{Text: text[at:]})
	}
	return out
}

// inner is the session that a connection through a host was served as; "" for
// none. The agent says so as the connection ends.
func inner(op *view.Operation) string {
	id, found := strings.CutPrefix(op.Tag, "session ")
	if !found || op.SSH == nil || len(op.SSH.Resources) == 0 {
		return ""
	}
	return id
}
