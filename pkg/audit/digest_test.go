package audit_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/pkg/record"
)

// A stream that its owner hashes is not hashed again.
func TestDigestOfTheOwnerIsRecorded(t *testing.T) {
	c := newCollector(t, newKeys(t))
	r := start(t, t.TempDir(), c)
	s := openSession(t, r.Log, "s1")
	chunk := bytes.Repeat([]byte{'f'}, 50_000)
	passed := 0
	for range 60 {
		passed++
		must(t, s.Digested(1, "stdin", 0, chunk, func() string { return fmt.Sprint("so-far:", passed) }))
	}
	must(t, s.Finish(1, 0, []byte("there"), record.Outcome{Status: "ok"})) // what was sent has not taken its place
	must(t, r.stop())
	var size int64
	var digests []string
	kept := false
	for _, h := range c.headers(t) {
		kept = kept || h.Outcome != nil && h.Outcome.Chunk != nil && h.Outcome.Chunk.Digest == ""
		if h.Chunk != nil {
			size += h.Chunk.Size
		}
		if h.Chunk != nil && h.Chunk.Digest != "" {
			digests = append(digests, h.Chunk.Digest)
		}
	}
	if want := []string{"so-far:23", "so-far:44", "so-far:60"}; size != 3_000_000 || !slices.Equal(digests, want) {
		t.Errorf("got %d bytes and %q, want %q", size, digests, want)
	}
	if !kept {
		t.Error("the answer is not kept")
	}
}
