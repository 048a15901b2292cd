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

// Only a collector keeps entries whose body was destroyed: on the way to it
// they are no entries.
func TestDestroyedBodiesAreNotSent(t *testing.T) {
	packer, err := record.NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	unpacker, err := record.NewUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	defer unpacker.Close()
	whole := record.Entry{No: 7, Header: []byte("{}"), Body: []byte(`{"text":"x"}`), SaltBody: record.Salt{9}}
	gone := whole.Shred()
	if gone.Leaf() != whole.Leaf() || len(gone.Body) > 0 || gone.SaltBody != (record.Salt{}) {
		t.Errorf("%+v", gone)
	}
	payload, err := packer.Pack([]record.Entry{gone, whole})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unpacker.Unpack(payload); err == nil {
		t.Error("it was taken from an agent")
	}
	back, err := unpacker.UnpackStored(payload)
	if err != nil || len(back) != 2 || back[0].Leaf() != whole.Leaf() || back[0].BodyHash == nil || back[1].BodyHash != nil {
		t.Errorf("%v, %+v", err, back)
	}
}
