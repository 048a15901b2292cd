package agent

import "testing"

func TestQuotaOfOneWorkloadIsNotAnothers(t *testing.T) {
	q := newQuota(2)
	first, ok := q.take(1)
	if !ok {
		t.Fatal("the first was refused")
	}
	if _, ok := q.take(1); !ok {
		t.Fatal("the second was refused")
	}
	if _, ok := q.take(1); ok {
		t.Error("a third one was let in")
	}
	if _, ok := q.take(2); !ok {
		t.Error("another workload was refused")
	}
	first()
	if _, ok := q.take(1); !ok {
		t.Error("a place that was given back is not free")
	}
}

func TestQuotaForgetsWorkloadsThatAreGone(t *testing.T) {
	q := newQuota(1)
	for netns := range uint64(100) {
		release, ok := q.take(netns)
		if !ok {
			t.Fatal("refused")
		}
		release()
	}
	if len(q.open) != 0 {
		t.Errorf("%d workloads are remembered", len(q.open))
	}
}
