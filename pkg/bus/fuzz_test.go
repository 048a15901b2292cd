package bus_test

import (
	"bytes"
	"testing"

	"github.com/sluicegate/sluice/pkg/bus"
)

func FuzzCutBatch(f *testing.F) {
	f.Add(bus.AppendBatch(nil, []byte("note"), []byte("payload")))
	f.Add([]byte{})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		note, payload, err := bus.CutBatch(data)
		if err == nil && !bytes.Equal(bus.AppendBatch(nil, note, payload), data) {
			t.Errorf("%x was cut into %x and %x", data, note, payload)
		}
	})
}
