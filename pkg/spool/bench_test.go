package spool_test

import (
	"errors"
	"testing"

	"github.com/sluicegate/sluice/pkg/spool"
)

func BenchmarkAppend(b *testing.B) {
	s, err := spool.Open(spool.Config{Dir: b.TempDir(), Segment: 16 << 20, Limit: 1 << 30})
	must(b, err)
	defer func() { must(b, s.Close()) }()
	head, rest := make([]byte, 350), make([]byte, 120)
	b.ReportAllocs()
	for b.Loop() {
		p, err := s.Append(1, head, rest)
		if errors.Is(err, spool.ErrFull) {
			err = s.Free(s.End())
		}
		must(b, err)
		_ = p
	}
}

func BenchmarkGroupSync(b *testing.B) {
	s, err := spool.Open(spool.Config{Dir: b.TempDir(), Segment: 16 << 20, Limit: 1 << 30})
	must(b, err)
	defer func() { must(b, s.Close()) }()
	head := make([]byte, 450)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p, err := s.Append(1, head, nil)
			if err == nil {
				err = s.Sync(p)
			}
			if err != nil {
				b.Error(err)
			}
		}
	})
}
