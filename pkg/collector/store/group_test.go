package store

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicegate/sluice/pkg/record"
)

// A group has the words of its records, however they are read: nothing that a
// search looks for in a record may be missing, and nothing that only a destroyed
// body had may stay.
func TestGroupsHaveTheWordsOfTheirRecords(t *testing.T) {
	for range 500 {
		b := &stored{agent: "a"}
		want := map[string]bool{}
		for i := range 1 + rand.IntN(groupSize) {
			h, body := anyRecord(uint64(i))
			protocol := map[string]string{"s1": "postgres", "s2": "ssh"}[h.Session]
			for _, word := range wordsOf(&h, &body, protocol) {
				want[indexed(word)] = true
			}
			header, err := record.AppendHeader(nil, &h)
			check(t, err)
			encoded, err := record.AppendBody(nil, &body)
			check(t, err)
			b.entries = append(b.entries, record.Entry{No: h.No, Header: header, Body: encoded})
		}
		w := &wording{agent: "a", sessions: map[string]about{"s1": {protocol: "postgres"}, "s2": {protocol: "ssh"}}}
		all, err := w.group(b, 0, func(_ *stored, no uint64, err error) error { return fmt.Errorf("record %d: %w", no, err) })
		check(t, err)
		got := strings.Fields(all)
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), got, cmpopts.EquateEmpty()); diff != "" {
			for _, e := range b.entries {
				t.Logf("%s %s", e.Header, e.Body)
			}
			t.Fatalf("(-of the records +of the group):\n%s", diff)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// anyRecord returns a record as sessions write them, mostly like others.
func anyRecord(no uint64) (h record.Header, body record.Body) {
	one := func(of ...string) string { return of[rand.IntN(len(of))] }
	h = record.Header{No: no, Time: time.Unix(1_700_000_000, 0), Session: one("s1", "s1", "s1", "s2")}
	text := one("SELECT a FROM t WHERE id = ", "SELECT a FROM tab", "SELECT \"Ä\"\n\tFROM t", "caf\u0301e", "x\x01", strings.Repeat("long", 40), "") + one("1", "22", "_x", "é", "")
	answer := []byte(one("\x01\xff", "text", "Ünd"))
	if rand.IntN(4) > 0 {
		answer = slices.Concat(message('T', "\x00\x01ab"+one("", "c")+"\x00"+strings.Repeat("\x00", 18)), message('D', "\x00\x02\x00\x00\x00\x03"+one("ABC", "a\x00b", "é1")+"\xff\xff\xff\xff"), message('C', "SELECT 1\x00"), message('Z', "I"))
	}
	switch rand.IntN(5) {
	case 0, 1:
		h.Type = record.OperationIntent
		h.Intent = &record.Intent{Kind: "statement", Effect: "allow", Rule: one("r1", "r1", "rule zwei", "r\"3"), Statements: []record.Statement{{Kind: "SELECT", Relations: []string{one("public.t", "u")}}}}
		body = record.Body{Text: text}
		if rand.IntN(2) == 0 {
			value := one("4711", "O'Hara", "tab\tbed", "ß")
			body.Params = []record.Param{{Text: &value}, {Null: true}, {Bytes: []byte("hidden")}, {Sealed: "hmac-sha256:00", Length: 3}}[:1+rand.IntN(4)]
		}
		if rand.IntN(8) == 0 {
			body = record.Body{Bytes: []byte("not \xff text")}
		}
	case 2, 3:
		h.Type, h.Outcome = record.OperationOutcome, &record.Outcome{Status: one("ok", "failed")}
		if rand.IntN(4) > 0 {
			h.Outcome.Chunk, body = &record.Chunk{Stream: "response"}, record.Body{Bytes: answer}
		}
	default:
		h.Type, h.Chunk, body = record.OperationChunk, &record.Chunk{Stream: one("response", "request", "param/1")}, record.Body{Bytes: answer}
		if rand.IntN(2) == 0 {
			body = record.Body{Text: text}
		}
	}
	return h, body
}

// message is one of PostgreSQL's.
func message(kind byte, payload string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload))+4), payload...)
}
