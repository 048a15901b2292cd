package ingest_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
)

func TestFullDiskAsksForTheBatchAgainAndLosesNothing(t *testing.T) {
	node := collectortest.NewAgent(t, "node-1")
	b := newBench(t, node)
	first := node.Batch(records()...)
	b.close()
	b.dir = t.TempDir()
	check(t, unix.Mount("tmpfs", b.dir, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { check(t, unix.Unmount(b.dir, unix.MNT_DETACH)) })
	b.open()
	b.handle(first)

	ballast := filepath.Join(b.dir, "ballast")
	file, err := os.Create(ballast)
	check(t, err)
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	check(t, file.Close())
	second := node.Batch(records()...)
	refused := false
	for range 64 { // the database may have some room left in its own files
		if refused = b.ingest.Handle(t.Context(), []bus.BatchMessage{second}) != nil; refused {
			break
		}
		second = node.Batch(records()...)
	}
	if !refused {
		t.Fatal("a full disk was not noticed")
	}
	before := b.size()
	check(t, os.Remove(ballast))
	b.handle(second)
	if size := b.size(); size != before+1 {
		t.Errorf("%d leaves, want %d", size, before+1)
	}
	b.restart()
	if len(b.findings()) > 0 || len(b.quarantined("node-1")) > 0 {
		t.Errorf("findings %v, quarantined %v", b.findings(), b.quarantined("node-1"))
	}
}
