package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// moment is something that a person at the terminal would have seen.
type moment struct {
	at   time.Duration // since the session began
	kind momentKind
	text string
}

// momentKind is what a moment is, by the letters of asciicast v3.
type momentKind string

const (
	shown   momentKind = "o" // what a program wrote, to stdout or stderr
	resized momentKind = "r" // the terminal is as large as the text says, "80x24"
	marked  momentKind = "m" // a program begins
)

// onTerminal reports whether a session had a terminal.
func onTerminal(t *told) bool {
	return slices.ContainsFunc(t.Operations, func(op *view.Operation) bool {
		return slices.ContainsFunc(op.Chunks, func(c view.Chunk) bool { return c.Stream == "size" })
	})
}

// moments are what the programs of a session showed, in the order of time.
func moments(t *told) []moment {
	var all []moment
	for _, op := range t.Operations {
		if op.Kind != "exec" && op.Kind != "shell" {
			continue
		}
		began := op.At.Sub(t.Session.Started)
		label := cmp.Or(op.Asked(), op.Text, op.Kind)
		all = append(all, moment{at: began, kind: marked, text: label})
		partial := map[string]string{} // of a character, by stream
		for _, chunk := range op.Chunks {
			at := began + chunk.At
			switch chunk.Stream {
			case "size":
				all = append(all, moment{at: at, kind: resized, text: string(chunk.Data)})
			case "response", "stderr":
				text, rest := whole(partial[chunk.Stream] + string(chunk.Data))
				partial[chunk.Stream] = rest
				if missing := chunk.Size - int64(len(chunk.Data)); missing > 0 {
					text += fmt.Sprintf("\r\n[sluice: %d bytes are recorded by their digest only]\r\n", missing)
				}
				if text != "" {
					all = append(all, moment{at: at, kind: shown, text: text})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int { return int(a.at - b.at) })
	return all
}

// whole splits off the beginning of a character that is not whole yet. What is
// no UTF-8 is replaced.
func whole(text string) (valid, rest string) {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if c := text[len(text)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRuneInString(text[len(text)-n:]) {
				text, rest = text[:len(text)-n], text[len(text)-n:]
			}
			break
		}
	}
	return strings.ToValidUTF8(text, "\uFFFD"), rest
}

// play shows a session in this terminal, as it went.
func (e *env) play(ctx context.Context, t *told, speed float64, idle time.Duration) error {
	s := &t.Session
	e.printf("-- %s on %s, %s by %s\n", s.ID, s.Resource, clock(s.Started), who(s))
	var last time.Duration
	var tamed tamer
	for _, m := range moments(t) {
		if err := pause(ctx, m.at-last, speed, idle); err != nil {
			return err
		}
		last = m.at
		switch m.kind {
		case marked:
			e.printf("\n-- +%.3f s  %s\n", m.at.Seconds(), view.OneLine(m.text, maxCell))
		case resized:
			e.printf("-- a terminal of %s\n", m.text)
		case shown:
			e.printf("%s", verbatim(tamed.tame(m.text)))
		}
	}
	e.printf("%s\n", verbatim(asBefore))
	return nil
}

// asBefore takes back what a recording may have left: another screen, margins,
// colours, a hidden cursor.
const asBefore = "\x1b[?1049l\x1b[r\x1b[m\x1b[?7h\x1b[?25h"

// tamer lets through what moves a terminal's cursor and colours its text, and
// drops what makes a terminal do or answer anything else: a recording must not
// write the clipboard or type on behalf of whoever looks at it.
type tamer struct {
	state    tameState
	sequence strings.Builder // of tameControl, so far
}

type tameState uint8

const (
	tamePlain   tameState = iota
	tameEscape            // behind ESC
	tameControl           // in a control sequence (ECMA-48, 5.4)
	tameString            // in a string, up to BEL or ST
	tameEnd               // behind ESC in a string
	tameCharset           // one more character, of a character set
)

// finals end control sequences that only draw.
const finals = "@ABCDEFGHJKLMPSTXZ`adefhlmrsu"

// maxSequence bounds a control sequence, in bytes.
const maxSequence = 64

func (t *tamer) tame(text string) string {
	var out strings.Builder
	for _, r := range text {
		t.next(r, &out)
	}
	return out.String()
}

func (t *tamer) next(r rune, out *strings.Builder) {
	switch t.state {
	case tameEscape:
		t.escaped(r, out)
	case tameControl:
		t.control(r, out)
	case tameString:
		switch r {
		case 0x07, 0x9c:
			t.state = tamePlain
		case 0x1b:
			t.state = tameEnd
		}
	case tameEnd:
		t.state = tameString
		if r == '\\' {
			t.state = tamePlain
		}
	case tameCharset:
		t.state = tamePlain
	default:
		switch {
		case r == 0x1b:
			t.state = tameEscape
		case r >= ' ' && r < 0x7f || r >= 0xa0 || r == '\n' || r == '\r' || r == '\t' || r == '\b':
			out.WriteRune(r)
		}
	}
}

func (t *tamer) escaped(r rune, out *strings.Builder) {
	t.state = tamePlain
	switch r {
	case '[':
		t.state = tameControl
		t.sequence.Reset()
	case ']', 'P', 'X', '^', '_':
		t.state = tameString
	case '(', ')', '*', '+', '#', '%', ' ':
		t.state = tameCharset
	case '7', '8', 'D', 'E', 'M', '=', '>':
		out.WriteString("\x1b" + string(r))
	}
}

// draws reports whether a control sequence only draws. Of a terminal's own modes
// those do that show the cursor, wrap lines or bring the other screen; others have
// it report the mouse or the focus, as if somebody typed.
func draws(sequence string, final rune) bool {
	if mode, private := strings.CutPrefix(sequence, "?"); private {
		return (final == 'h' || final == 'l') && !slices.ContainsFunc(strings.Split(mode, ";"), func(mode string) bool {
			return !slices.Contains([]string{"7", "12", "25", "47", "1047", "1048", "1049"}, mode)
		})
	}
	return strings.ContainsRune(finals, final) && !strings.ContainsAny(sequence, " !\"$'*+<=>?")
}

func (t *tamer) control(r rune, out *strings.Builder) {
	switch {
	case r >= 0x40 && r < 0x7f:
		t.state = tamePlain
		if sequence := t.sequence.String(); draws(sequence, r) {
			out.WriteString("\x1b[" + sequence + string(r))
		}
	case r < 0x20 || r >= 0x7f || t.sequence.Len() >= maxSequence:
		t.state = tamePlain // no sequence of any terminal
	default:
		t.sequence.WriteRune(r)
	}
}
