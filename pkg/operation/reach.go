package operation

import (
	"fmt"
	"strings"
)

// Reach is what an operation would touch, found out without running it, for
// the person who is asked about it. It describes and proves nothing: what it
// counts may change before the operation runs.
type Reach struct {
	Statements []StatementReach `json:"statements,omitempty"`
	Unknown    string           `json:"unknown,omitempty"` // why nothing, or no more, was found out
}

// StatementReach is what one statement would touch.
type StatementReach struct {
	Kind string `json:"kind"`
	// Estimated is the planner's guess of how many rows it changes, and Counted
	// how many there were when they were counted; nil: nobody knows.
	Estimated *int64          `json:"estimated,omitempty"`
	Counted   *int64          `json:"counted,omitempty"`
	Unknown   string          `json:"unknown,omitempty"` // why rows were not estimated, or only estimated
	Relations []RelationReach `json:"relations,omitempty"`
}

// RelationReach is one relation that a statement changes or locks.
type RelationReach struct {
	Name  string `json:"name"` // as the server resolves it, with its schema
	Kind  string `json:"kind"` // "table", "index", "view", …
	Lock  string `json:"lock,omitempty"`
	Rows  int64  `json:"rows"`  // by the server's statistics; -1: it has none
	Bytes int64  `json:"bytes"` // on disk, with indexes and partitions; -1: not known
	// Dependants are what hangs on it: views, foreign keys, triggers, …
	Dependants []string `json:"dependants,omitempty"`
}

// Rows says in words how many rows a statement would change; "" where nobody
// asked.
func (s *StatementReach) Rows() string {
	var words []string
	if s.Counted != nil {
		words = append(words, fmt.Sprintf("%d rows, counted", *s.Counted))
	}
	if s.Estimated != nil {
		words = append(words, fmt.Sprintf("about %d rows by the planner's estimate", *s.Estimated))
	}
	switch {
	case s.Unknown != "" && s.Estimated != nil:
		words = append(words, "not counted: "+s.Unknown)
	case s.Unknown != "":
		words = append(words, "rows not estimated: "+s.Unknown)
	}
	return strings.Join(words, "; ")
}

// String describes a relation in one line, without what hangs on it.
func (r *RelationReach) String() string {
	words := []string{r.Kind + " " + r.Name}
	if r.Lock != "" {
		words = append(words, "locked "+r.Lock)
	}
	if r.Rows >= 0 {
		words = append(words, fmt.Sprintf("about %d rows", r.Rows))
	}
	if r.Bytes >= 0 {
		words = append(words, Size(r.Bytes))
	}
	return strings.Join(words, ", ")
}

// Size writes a number of bytes as people do.
func Size(bytes int64) string {
	const step = 1024
	value, unit := float64(bytes), 0
	for value >= step && unit < len(sizeUnits)-1 {
		value, unit = value/step, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, sizeUnits[unit])
}

var sizeUnits = [...]string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"}
