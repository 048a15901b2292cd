package operation

import "fmt"

// String returns the operation's number and kind.
func (o Operation) String() string { return fmt.Sprintf("operation %d (%s)", o.ID, o.Kind) }

// GoString returns what String does, for %#v.
func (o Operation) GoString() string { return o.String() }

// Format prints String whatever the verb: the fields hold what a job wrote.
func (o Operation) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(o.String())) }

// MarshalText writes String, so that encoders that look at fields see none.
func (o Operation) MarshalText() ([]byte, error) { return []byte(o.String()), nil }
