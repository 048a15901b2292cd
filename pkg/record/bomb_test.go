package record_test

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/sluicegate/sluice/pkg/record"
)

// bomb is 64 MiB of zeros in a few kilobytes, said to be one record.
func bomb() []byte {
	return append(append(make([]byte, 11), 1), append(make([]byte, 16), s2.Encode(nil, make([]byte, 64<<20))...)...)
}

func FuzzUnpack(f *testing.F) {
	var p record.Packer
	payload, err := p.Pack(entries(3))
	must(f, err)
	f.Add(payload)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := record.Unpack(data)
		if err != nil {
			return
		}
		again, err := p.Pack(got)
		must(t, err)
		again = bytes.Clone(again)
		back, err := record.Unpack(again)
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
		e.Salt = s.Salt(e.No)
		_ = e.Leaf()
	}
}

// Only a collector keeps entries whose body was destroyed: on the way to it
// they are no entries.
func TestDestroyedBodiesAreNotSent(t *testing.T) {
	var packer record.Packer
	whole := record.Entry{No: 7, Header: []byte("{}"), Body: []byte(`{"text":"x"}`), Salt: record.Salt{9}}
	after := whole
	after.No++
	gone := whole.Shred()
	if gone.Leaf() != whole.Leaf() || len(gone.Body) > 0 || gone.Salt != (record.Salt{}) {
		t.Errorf("%+v", gone)
	}
	payload, err := packer.PackStored([]record.Entry{gone, after})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := record.Unpack(payload); err == nil {
		t.Error("it was taken from an agent")
	}
	back, err := record.UnpackStored(payload)
	if err != nil || len(back) != 2 || back[0].Leaf() != whole.Leaf() || back[1].Leaf() != after.Leaf() || back[0].BodyHash == nil || back[1].BodyHash != nil {
		t.Errorf("%v, %+v", err, back)
	}
}
