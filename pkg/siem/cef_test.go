package siem_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/siem"
)

// rfc5424 is the grammar of the header of a message without structured data
// (RFC 5424 §6).
var rfc5424 = regexp.MustCompile(`^<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - (.*)$`)

// parsed is a CEF message as a reader takes it apart.
type parsed struct {
	head   []string
	fields map[string]string
}

// parseCEF reads by the rules of the format: in the header a pipe ends a field
// unless a backslash stands before it; in the extension a key is what stands
// between a blank and an equals sign that no backslash stands before.
func parseCEF(t testing.TB, text string) parsed {
	t.Helper()
	rest, ok := strings.CutPrefix(text, "CEF:")
	if !ok {
		t.Fatalf("not CEF: %q", text)
	}
	var p parsed
	var field strings.Builder
	for len(p.head) < 7 {
		if rest == "" {
			t.Fatalf("the header ends early: %q", text)
		}
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			field.WriteByte(rest[1])
			rest = rest[2:]
		case rest[0] == '|':
			p.head = append(p.head, field.String())
			field.Reset()
			rest = rest[1:]
		default:
			field.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	p.fields = map[string]string{}
	keys := regexp.MustCompile(`(?:^| )([A-Za-z0-9]+)=`)
	at := keys.FindAllStringSubmatchIndex(rest, -1)
	for i, m := range at {
		end := len(rest)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		key := rest[m[2]:m[3]]
		if _, twice := p.fields[key]; twice {
			t.Fatalf("%s stands twice in %q", key, text)
		}
		p.fields[key] = strings.NewReplacer(`\\`, `\`, `\=`, `=`, `\n`, "\n", `\r`, "\r").Replace(rest[m[1]:end])
	}
	return p
}

// checkMessage checks one syslog message and returns its CEF.
func checkMessage(t testing.TB, message string) parsed {
	t.Helper()
	m := rfc5424.FindStringSubmatch(message)
	if m == nil {
		t.Fatalf("not a syslog message: %q", message)
	}
	if len(message) > 8192 {
		t.Errorf("%d bytes are more than a receiver must take", len(message))
	}
	for _, r := range message {
		if !unicode.IsPrint(r) && r != '\t' {
			t.Errorf("%U in %q", r, message)
		}
	}
	if !utf8.ValidString(message) {
		t.Errorf("not UTF-8: %q", message)
	}
	return parseCEF(t, m[7])
}

func TestHostileTextStaysInItsField(t *testing.T) {
	e := siem.Event{Agent: "node-1", Header: record.Header{Type: record.OperationIntent, Time: began, Session: hostile, Operation: 1}}
	e.Header.Intent = &record.Intent{Kind: hostile, Effect: "deny", Rule: "r", Database: hostile, Role: hostile, Reason: hostile}
	e.Intent, e.Body.Text = e.Header.Intent, hostile
	got := checkMessage(t, string(e.AppendSyslog(nil)))
	want := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, hostile)
	for _, key := range []string{"msg", "cs1", "cs5", "duser", "reason"} {
		if got.fields[key] != want {
			t.Errorf("%s is %q, want %q", key, got.fields[key], want)
		}
	}
	if got.fields["act"] != "Denied" || got.head[6] != "6" {
		t.Errorf("act %q, severity %s", got.fields["act"], got.head[6])
	}
}

func TestLongTextIsCutAndItsLengthStated(t *testing.T) {
	e := siem.Event{Agent: "node-1", Header: record.Header{Type: record.OperationIntent, Time: began, Intent: &record.Intent{Kind: "statement", Effect: "allow"}}}
	e.Body.Text = strings.Repeat("é=|\\", 5000)
	got := checkMessage(t, string(e.AppendSyslog(nil)))
	if text := got.fields["msg"]; len(text) > 1023 || !strings.HasSuffix(text, "…") || got.fields["flexNumber1"] != "25000" {
		t.Errorf("%d bytes, length stated as %s", len(text), got.fields["flexNumber1"])
	}
}

func TestMessagesOfTheFixtureAreValid(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(string(written(t, siem.CEF, events(t))), "\n"), "\n")
	for _, line := range lines {
		checkMessage(t, line)
	}
}

// FuzzCEF looks for text that leaves its field, its line or its header.
func FuzzCEF(f *testing.F) {
	f.Add(hostile, "agent", "type")
	f.Add(`\`, `|`, "=")
	f.Add("a\\\nb=c", "\r", "\u0085")
	f.Fuzz(func(t *testing.T, text, agent, kind string) {
		e := siem.Event{Agent: agent, Header: record.Header{Type: record.Type(kind), Time: began, Session: text}, Body: record.Body{Text: text}}
		got := checkMessage(t, string(e.AppendSyslog(nil)))
		for key := range got.fields {
			switch key {
			case "rt", "dvchost", "externalId", "act", "outcome", "cs1", "cs1Label", "msg", "flexNumber1", "flexNumber1Label":
			default:
				t.Errorf("there is a field %q", key)
			}
		}
		if got.head[0] != "0" || got.head[1] != "Sluicegate" || got.head[6] != "1" {
			t.Errorf("the header is %q", got.head)
		}
	})
}
