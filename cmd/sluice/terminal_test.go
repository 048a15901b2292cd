package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// typed is a session with a terminal, whose shell was recorded in these pieces.
func typed(pieces ...string) *told {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	op := &view.Operation{ID: 2, Kind: "shell", At: began.Add(time.Second)}
	op.Chunks = append(op.Chunks, view.Chunk{Stream: "size", Data: []byte("100x30"), Size: 6})
	for i, piece := range pieces {
		op.Chunks = append(op.Chunks, view.Chunk{
			Stream: "response", At: time.Duration(i+1) * 500 * time.Millisecond, Data: []byte(piece), Size: int64(len(piece)),
		})
	}
	op.Chunks = append(op.Chunks, view.Chunk{Stream: "request", At: time.Millisecond, Data: []byte("typed"), Size: 5})
	return &told{Session: view.Session{ID: "s1", Protocol: "ssh", Started: began}, Operations: []*view.Operation{op}}
}

func TestTerminalIsPlayedWithoutWhatCommandsIt(t *testing.T) {
	session := typed("plain \x1b[1;31mred\x1b[0m\r\n", "\x1b]52;c;cm0=\x07\x1b]0;title\x1b\\\x1bP+q\x1b\\\x1b[6n\x1b[c\x1b[>0q\x05\x07", "\x1b(B\x1b[2", "J\xc3", "\xa4\u009b6n\x9d",
		"\x1b[?12;25l\x1b[?1049h\x1b[?1000h\x1b[?1004;25h\x1b[?u\x1b[?1;1;0S")
	if !onTerminal(session) {
		t.Fatal("it had a terminal")
	}
	var out bytes.Buffer
	e := &env{out: &out}
	if err := e.play(t.Context(), session, 0, time.Second); err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(out.String(), "100x30\n")
	if want := "plain \x1b[1;31mred\x1b[0m\r\n\x1b[2Jä6n\ufffd\x1b[?12;25l\x1b[?1049h" + asBefore + "\n"; shown != want {
		t.Errorf("got %q, want %q", shown, want)
	}
}

func TestTerminalIsPlayedAtItsSpeed(t *testing.T) {
	e := &env{out: &bytes.Buffer{}}
	began := time.Now()
	if err := e.play(t.Context(), typed("a", "b"), 20, time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 90*time.Millisecond || took > 5*time.Second {
		t.Errorf("two seconds, twenty times as fast, took %v", took)
	}
}

func TestRecordingIsAnAsciicast(t *testing.T) {
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	session := typed("hello\r\n", "<&>")
	session.Operations[0].Chunks[2].Size += 1 << 20
	if err := writeCast(w, "s1", session.Session.Started, moments(session)); err != nil {
		t.Fatal(err)
	}
	_ = w.Flush()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var head castHead
	if err := json.Unmarshal([]byte(lines[0]), &head); err != nil || head.Version != 3 || head.Term.Cols != 100 || head.Term.Rows != 30 || head.Timestamp != 1767323045 {
		t.Errorf("head %s, %v", lines[0], err)
	}
	want := []string{
		`[0,"m","shell"]`, `[0,"r","100x30"]`, `[0.5,"o","hello\r\n"]`,
		`[0.5,"o","<&>\r\n[sluice: 1048576 bytes are recorded by their digest only]\r\n"]`,
	}
	if got := strings.Join(lines[1:], "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s", got)
	}
}
