package view_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// message encodes one backend message (PostgreSQL manual, "Message Formats").
func message(kind byte, payload string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)+4))) + payload
}

func text(s string) view.Cell { return view.Cell{Text: s} }

func TestPostgresAnswerReadsAsPeopleSeeIt(t *testing.T) {
	fixed := strings.Repeat("\x00", 18)
	answer := message('T', "\x00\x02id\x00"+fixed+"email\x00"+fixed) +
		message('D', "\x00\x02\x00\x00\x00\x011\x00\x00\x00\x0a[redacted]") +
		message('D', "\x00\x02\x00\x00\x00\x012\xff\xff\xff\xff") +
		message('C', "SELECT 2\x00") +
		message('N', "SNOTICE\x00C00000\x00Mhello\x00\x00") +
		message('E', "SERROR\x00C42501\x00Mrefused\x00Hask\x00\x00") +
		message('Z', "I")
	want := []view.Line{
		{Kind: view.Head, Cells: []view.Cell{text("id"), text("email")}},
		{Kind: view.Row, Cells: []view.Cell{text("1"), text("[redacted]")}},
		{Kind: view.Row, Cells: []view.Cell{text("2"), {Null: true}}},
		{Kind: view.Tag, Text: "SELECT 2"},
		{Kind: view.Notice, Text: "NOTICE: hello"},
		{Kind: view.Error, Text: "ERROR: refused (42501)\nHINT: ask"},
	}
	if diff := cmp.Diff(want, view.Transcript("postgres", []byte(answer))); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestAnswerThatCannotBeReadIsAGap(t *testing.T) {
	for name, answer := range map[string]string{
		"cut in the head":     "D\x00\x00",
		"cut in the payload":  message('D', "\x00\x01\x00\x00\x00\x05abcde")[:9],
		"impossible length":   "D\x00\x00\x00\x03",
		"a value too long":    message('D', "\x00\x01\x00\x00\x00\x09abc"),
		"a negative length":   message('D', "\x00\x01\xff\xff\xff\xfe"),
		"more values than it": message('D', "\xff\xff"),
	} {
		lines := view.Transcript("postgres", []byte(answer))
		if len(lines) != 1 || lines[0].Kind != view.Gap {
			t.Errorf("%s: %+v", name, lines)
		}
	}
}

func TestNothingRecordedCanDriveATerminal(t *testing.T) {
	hostile := "a\x1b[2J\x1b]0;owned\x07b\u202ec\x7fd\x9be\r\nf"
	for _, out := range []string{
		view.Printable(hostile), view.OneLine(hostile, 100),
		view.Transcript("ssh", []byte(hostile))[0].Text,
		view.Transcript("postgres", []byte(message('C', hostile+"\x00")))[0].Text,
	} {
		for _, r := range out {
			if r != '\n' && (r < 0x20 || r == 0x7f || r == 0x9b || r == '\u202e') {
				t.Errorf("%q keeps %q", out, r)
			}
		}
	}
}

func TestOneLineCutsByCharacters(t *testing.T) {
	if got := view.OneLine("  é\n é  é ", 4); got != "é é…" {
		t.Errorf("got %q", got)
	}
	if got := view.OneLine("abcd", 4); got != "abcd" {
		t.Errorf("got %q", got)
	}
}

func FuzzWords(f *testing.F) {
	head := message('T', "\x00\x01ab\x00"+strings.Repeat("\x00", 18))
	row := message('D', "\x00\x02\x00\x00\x00\x03abc\xff\xff\xff\xff")
	for _, answer := range []string{
		"", head + row + message('C', "SELECT 1\x00") + message('Z', "I"), row + "D", row[:9], message('D', "\x00\x01\xff\xff\xff\xfe"), message('D', ""),
		message('D', "\x00\x01\x00\x00\x00\x01\x1b"), message('C', "no end"), message('T', "\xff\xffab\x00"), row + message('N', "SNOTICE\x00Mhello\x00\x00"), message('d', "x"),
	} {
		f.Add("postgres", []byte(answer))
		f.Add("ssh", []byte(answer))
	}
	f.Fuzz(func(t *testing.T, protocol string, response []byte) {
		var want strings.Builder
		for _, line := range view.Transcript(protocol, response) {
			for _, cell := range line.Cells {
				want.WriteString(cell.Text + " ")
			}
			want.WriteString(line.Text + "\n")
		}
		if got := view.Words(protocol, response); got != want.String() {
			t.Errorf("got %q, want %q", got, want.String())
		}
	})
}

func FuzzTranscript(f *testing.F) {
	f.Add([]byte(message('D', "\x00\x01\x00\x00\x00\x01a")))
	f.Add([]byte(message('T', "\x00\x01a\x00"+strings.Repeat("\x00", 18))))
	f.Add([]byte(message('E', "SERROR\x00\x00")))
	f.Add([]byte("D\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		cells := 0
		for _, line := range view.Transcript("postgres", answer) {
			cells += len(line.Cells)
		}
		if cells > len(answer) {
			t.Errorf("%d cells out of %d bytes", cells, len(answer))
		}
	})
}
