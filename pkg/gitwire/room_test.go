package gitwire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/record"
)

// A small pack whose commits would take much memory is read,
// and little is kept of it. What is not kept counts as not understood.
func TestHistoriesTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	var p packer
	parents := strings.Repeat("parent "+idA+"\n", 1360)
	for n := range 1000 {
		p.object(1, fmt.Sprintf("tree %s\n%sauthor %d <>\n\n", idA, parents, n))
	}
	got, err := gitwire.ReadPack(bytes.NewReader(p.pack(p.count)), gitwire.Limits{})
	if err != nil || !got.Opaque || len(got.Commits) == 0 || len(got.Commits) > 500 {
		t.Errorf("%d commits of %d bytes are kept, opaque %v, %v", len(got.Commits), p.Len(), got.Opaque, err)
	}
}

// Deltas of which each names the one before it are known one by one, and that
// costs no more than if all were known at once.
func TestDeltasInARowAreResolvedOnce(t *testing.T) {
	t.Parallel()
	var p packer
	before := commitOf("0")
	p.object(1, before)
	for n := range 30_000 {
		next := commitOf(fmt.Sprint(n + 1))
		delta := deltaOf(before, next)
		p.add(7, len(delta), unhex(objectID("commit", before)), delta)
		before = next
	}
	wire := p.pack(p.count)
	began := time.Now()
	got, err := gitwire.ReadPack(bytes.NewReader(wire), gitwire.Limits{})
	if took := time.Since(began); err != nil || len(got.Commits) != 30_001 || took > 5*time.Second {
		t.Errorf("%d commits in %v, %v", len(got.Commits), took, err)
	}
}

// What clients have a run keep is the workload's, and is given back.
func TestRunsShareAWorkloadsMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	w.room = gitwire.NewRoom(1<<30, 1<<30)
	taken := w.room.Memory(1800 << 10)
	var during int64
	w.guard.decide = func(*operation.Operation) protocol.Decision {
		during = taken()
		return protocol.Decision{Effect: protocol.Allow}
	}
	var refs []string
	for n := range 350 {
		refs = append(refs, fmt.Sprintf("HEAD:refs/heads/many/%d", n))
	}
	out, err := w.run(w.work, append([]string{"push", "-q", "origin"}, refs...)...)
	if err == nil || !strings.Contains(out, "larger than this agent takes") {
		t.Errorf("git ended with %v\n%.300s", err, out)
	}
	w.commit(w.work, "four")
	w.git(w.work, append([]string{"push", "-q", "origin", "HEAD:main"}, refs[:100]...)...)
	if during == 0 {
		t.Error("a push takes no memory")
	}
	w.git(w.dir, "clone", "-q", w.url(), "copy")
	for deadline := time.Now().Add(10 * time.Second); taken() != 0; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are taken when all is over", taken())
		}
	}
}

// A workload that sends many packs at once has some of them read, the others
// wait, and nobody else does.
func TestPacksOfAWorkloadAreReadInTurns(t *testing.T) {
	t.Parallel()
	room := gitwire.NewRoom(1, 1)
	var taken []func()
	for range 2 {
		done, err := room.Turn(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, done)
	}
	leaves, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer leave()
	if _, err := room.Turn(leaves, 1); err == nil {
		t.Error("a third pack is read")
	}
	other, err := room.Turn(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	other()
	taken[0]()
	if taken[0], err = room.Turn(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, done := range taken {
		done()
	}
	if n := room.Lines(); n != 0 {
		t.Errorf("%d workloads are remembered", n)
	}
}

// What a push would do has to fit a record: one that changes more is refused in
// words, and what it asked for is recorded.
func TestPushOfManyReferencesIsRefusedInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sha1", "")
	for _, count := range []int{350, 2000} {
		args := []string{"push", "-q", "origin"}
		for n := range count {
			args = append(args, fmt.Sprintf("HEAD:refs/heads/%d/%d", count, n))
		}
		out, err := w.run(w.work, args...)
		got := w.guard.last(t)
		facts, _ := json.Marshal(record.GitOf(got.Git))
		if len(facts) > record.MaxHeader-8<<10 {
			t.Errorf("%d references take %d bytes in a record", count, len(facts))
		}
		if count < 400 && err != nil {
			t.Errorf("%d references: %v\n%.300s", count, err, out)
		}
		if count > 400 && (err == nil || !strings.Contains(out, "larger than this agent takes") || !strings.Contains(got.text, "refs/heads/2000/300")) {
			t.Errorf("%d references: %v\n%.300s", count, err, out)
		}
	}
}

// A client that stops in the middle of its pack keeps no other one waiting.
func TestStalledPacksKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	room := gitwire.NewRoom(1<<20, 1<<20)
	var p packer
	p.object(1, commitOf("one"))
	wire := p.pack(1)
	var wait sync.WaitGroup
	defer wait.Wait()
	for range 5 {
		from, to := io.Pipe()
		wait.Go(func() { _ = room.ReadPack(t.Context(), 1, from) })
		wait.Go(func() { _, _ = to.Write(wire[:20]) })
		defer func() { _ = from.Close() }()
	}
	<-time.After(100 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := room.ReadPack(ctx, 1, bytes.NewReader(wire)); err != nil {
		t.Error(err)
	}
}
