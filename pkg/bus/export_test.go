package bus

import "github.com/nats-io/nats.go"

// RawOption lets tests connect with a credential and no agent around it.
func RawOption(seed []byte) (nats.Option, error) {
	options, err := Security{Seed: seed}.options()
	if err != nil {
		return nil, err
	}
	return options[0], nil
}

// CutBatch is cutBatch, for fuzzing.
func CutBatch(data []byte) (note, payload []byte, err error) { return cutBatch(data) }

// AppendBatch is appendBatch, for fuzzing.
func AppendBatch(dst, note, payload []byte) []byte { return appendBatch(dst, note, payload) }
