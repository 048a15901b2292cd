package translog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// shredTitle is the first line of a shredding's note.
const shredTitle = "sluice.shred/1"

// MaxSpans bounds the spans of one shredding, so that its note stays below the
// 64 KiB that a tlog-tiles entry can have.
const MaxSpans = 1024

// maxWords bounds who and why in a shredding, in bytes.
const maxWords = 512

// Shredding says that the collector destroyed the bodies of records, who
// wanted it and why. It is a leaf of the log, signed by the log's own key: it
// excuses a missing body, and nobody can shred in secret. What it speaks of
// stands before it in the log.
type Shredding struct {
	At     time.Time `json:"at"` // to the millisecond
	By     string    `json:"by"` // one line, neither end blank
	Reason string    `json:"reason"`
	Bodies []Span    `json:"bodies"` // ascending, apart from each other
}

// Span is a run of records of one batch.
type Span struct {
	Index int64  `json:"index"` // of the batch's leaf
	First uint64 `json:"first"` // number of the first record
	Last  uint64 `json:"last"`  // number of the last record
}

func (s *Shredding) text(origin string) []byte {
	t := fmt.Appendf(nil, "%s\n%s\ntime %d\nby %s\nreason %s\n", shredTitle, origin, s.At.UnixMilli(), s.By, s.Reason)
	for _, b := range s.Bodies {
		t = fmt.Appendf(t, "bodies %d %d %d\n", b.Index, b.First, b.Last)
	}
	return t
}

// SignShredding returns the signed note of s: a leaf of the log that the
// signer is the key of.
func SignShredding(s *Shredding, signer *Signer) ([]byte, error) {
	text := s.text(signer.Name())
	if _, err := parseShredding(text, signer.Name()); err != nil {
		return nil, fmt.Errorf("sign shredding: %w", err)
	}
	return signer.sign(text)
}

// IsShredding reports whether a signed note claims to be a shredding. It says
// nothing about whether it is one.
func IsShredding(signed []byte) bool { return strings.HasPrefix(string(signed), shredTitle+"\n") }

// OpenShredding verifies a shredding's note with the log's key.
func OpenShredding(signed []byte, log *Verifier) (Shredding, error) {
	text, err := log.open(signed)
	if err != nil {
		return Shredding{}, fmt.Errorf("open shredding: %w", err)
	}
	s, err := parseShredding(text, log.Name())
	if err != nil {
		return Shredding{}, fmt.Errorf("open shredding: %w", err)
	}
	return s, nil
}

// parseShredding reads the one text that a shredding has.
func parseShredding(text []byte, origin string) (Shredding, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 || len(lines) > 6+MaxSpans || lines[0] != shredTitle || lines[1] != origin {
		return Shredding{}, errors.New("not a shredding of this log")
	}
	ms, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "time "), 10, 64)
	if err != nil {
		return Shredding{}, errors.New("bad time")
	}
	s := Shredding{At: time.UnixMilli(ms).UTC(), By: strings.TrimPrefix(lines[3], "by "), Reason: strings.TrimPrefix(lines[4], "reason ")}
	if !IsWords(s.By) || !IsWords(s.Reason) {
		return Shredding{}, errors.New("who or why is not one line of text")
	}
	for _, line := range lines[5 : len(lines)-1] {
		var b Span
		if _, err := fmt.Sscanf(line, "bodies %d %d %d", &b.Index, &b.First, &b.Last); err != nil {
			return Shredding{}, errors.New("bad bodies")
		}
		if n := len(s.Bodies); n > 0 && !s.Bodies[n-1].before(b) || b.Index < 0 || b.First > b.Last {
			return Shredding{}, errors.New("bodies are not in order")
		}
		s.Bodies = append(s.Bodies, b)
	}
	if string(s.text(origin)) != string(text) {
		return Shredding{}, errors.New("not in its one form")
	}
	return s, nil
}

func (b Span) before(next Span) bool {
	return b.Index < next.Index || b.Index == next.Index && b.Last < next.First
}

// IsWords reports whether s can say who or why in a shredding: one line that a
// terminal shows as it is, of at most 512 bytes.
func IsWords(s string) bool {
	if s == "" || len(s) > maxWords || strings.TrimSpace(s) != s || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
