package record_test

import (
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sluicegate/sluice/pkg/record"
)

// bomb is 64 MiB of zeros in a few kilobytes.
func bomb(t testing.TB) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	must(t, err)
	return encoder.EncodeAll(make([]byte, 64<<20), nil)
}

func FuzzUnpack(f *testing.F) {
	p, err := record.NewPacker()
	must(f, err)
	payload, err := p.Pack(entries(3))
	must(f, err)
	f.Add(payload)
	f.Add([]byte{})
	u, err := record.NewUnpacker()
	must(f, err)
	f.Cleanup(u.Close)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := u.Unpack(data)
		if err != nil {
			return
		}
		again, err := p.Pack(got)
		must(t, err)
		back, err := u.Unpack(again)
		must(t, err)
		if len(back) != len(got) {
			t.Errorf("%d entries came back as %d", len(got), len(back))
		}
	})
}

func BenchmarkLeaf(b *testing.B) {
	e := record.Entry{Header: make([]byte, 350), Body: make([]byte, 120)}
	s := record.NewSalter([32]byte{1})
	b.ReportAllocs()
	for b.Loop() {
		e.No++
		e.SaltHeader, e.SaltBody = s.Salts(e.No)
		_ = e.Leaf()
	}
}
