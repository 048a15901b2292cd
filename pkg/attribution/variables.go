package attribution

import (
	"bytes"
	"slices"
)

// maxVariable bounds the value of a variable that is asked for, in bytes: a
// token's length.
const maxVariable = 16 << 10

// Variables returns the value that a process has for a variable that was asked
// for; "" where it has none, or one that is too long. Values may be secrets, so
// this is a function: nothing that prints or encodes it shows them.
type Variables func(name string) string

// Value returns the value of a variable; "" also where nothing was read.
func (v Variables) Value(name string) string {
	if v == nil {
		return ""
	}
	return v(name)
}

// parseVariables picks variables out of an environment, byte by byte as they
// stand there. The first of two equal names counts, as for getenv(3).
func parseVariables(environ []byte, names []string) Variables {
	if len(names) == 0 {
		return nil
	}
	values := make(map[string]string, len(names))
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		name, value, found := bytes.Cut(entry, []byte("="))
		if !found || !slices.Contains(names, string(name)) {
			continue
		}
		if _, twice := values[string(name)]; twice {
			continue
		}
		if len(value) > maxVariable {
			value = nil
		}
		values[string(name)] = string(value)
	}
	return func(name string) string { return values[name] }
}
