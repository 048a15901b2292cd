package translog

import (
	"bytes"
	"fmt"
)

// ParseTrust reads a trust file: the JSON of a Trust, strictly, every key of
// it usable.
func ParseTrust(data []byte) (Trust, error) {
	var trust Trust
	if err := decodeStrict(bytes.TrimSpace(data), &trust); err != nil {
		return Trust{}, fmt.Errorf("read trust file: %w", err)
	}
	for _, key := range append([]string{trust.Log}, trust.Agents...) {
		if _, err := NewVerifier(key); err != nil {
			return Trust{}, fmt.Errorf("read trust file: %w", err)
		}
	}
	return trust, nil
}
