package view_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// packet is one of MySQL's, of less than 256 bytes.
func packet(payload string) string { return string([]byte{byte(len(payload)), 0, 0, 1}) + payload }

// definition defines a column of a type.
func definition(name string, typ byte) string {
	return packet("\x03def\x00\x00\x00" + string([]byte{byte(len(name))}) + name + "\x00\x0c\x21\x00\xff\x00\x00\x00" + string([]byte{typ}) + "\x00\x00\x00\x00\x00")
}

const eof = "\xfe\x00\x00\x02\x00"

var mysqlHead = packet("\x02") + definition("id", 3) + definition("email", 253) + packet(eof)

func TestMySQLsAnswerReadsAsPeopleSeeIt(t *testing.T) {
	rows := []view.Line{
		{Kind: view.Head, Cells: []view.Cell{text("id"), text("email")}},
		{Kind: view.Row, Cells: []view.Cell{text("1"), text("[redacted]")}},
		{Kind: view.Row, Cells: []view.Cell{text("-2"), {Null: true}}},
	}
	for name, answer := range map[string]string{
		"text":   mysqlHead + packet("\x011\x0a[redacted]") + packet("\x02-2\xfb") + packet(eof),
		"binary": mysqlHead + packet("\x00\x00\x01\x00\x00\x00\x0a[redacted]") + packet("\x00\x08\xfe\xff\xff\xff") + packet(eof),
	} {
		if diff := cmp.Diff(rows, view.Transcript("mysql", []byte(answer))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	want := []view.Line{{Kind: view.Tag, Text: "OK 3"}, {Kind: view.Error, Text: "ERROR 1227 (42000): refused"}}
	answer := packet("\x00\x03\x00\x02\x00\x00\x00") + packet("\xff\xcb\x04#42000refused")
	if diff := cmp.Diff(want, view.Transcript("mysql", []byte(answer))); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestMySQLsAnswerThatIsCutIsAGap(t *testing.T) {
	whole := mysqlHead + packet("\x011\x0a[redacted]")
	for n := 1; n < len(whole); n++ {
		for _, line := range view.Transcript("mysql", []byte(whole[:n])) {
			if line.Kind == view.Row {
				t.Errorf("of %d bytes a row is shown", n)
			}
		}
	}
}

func FuzzMySQLTranscript(f *testing.F) {
	f.Add([]byte(mysqlHead + packet("\x011\x0a[redacted]") + packet(eof)))
	f.Add([]byte(mysqlHead + packet("\x00\x08\xfe\xff\xff\xff") + packet(eof)))
	f.Add([]byte(packet("\xff\xcb\x04#42000refused") + packet("\x00\x03\x00\x02\x00\x00\x00")))
	f.Fuzz(func(t *testing.T, answer []byte) {
		cells := 0
		for _, line := range view.Transcript("mysql", answer) {
			cells += len(line.Cells)
			if strings.ContainsAny(line.Text, "\x1b\x00") {
				t.Error("it can drive a terminal")
			}
		}
		if cells > 8*len(answer)+4096 {
			t.Errorf("%d cells out of %d bytes", cells, len(answer))
		}
	})
}
