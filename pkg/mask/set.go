package mask

// Method is how a value is hidden.
type Method string

// The methods. The zero value is not valid: a mask must say what it does.
const (
	Redact  Method = "redact"  // a constant
	Null    Method = "null"    // no value
	Hash    Method = "hash"    // a keyed hash: equal values stay equal
	Partial Method = "partial" // the last four characters
)

// Column names a masked column as the policy writes it. Parts are folded to
// the server's case and never empty.
type Column struct {
	Schema, Table, Column string
	Mask                  string // the mask's name, for records
	Method                Method
}

// Path names a value inside of a column that holds JSON. Arrays on the way are
// passed through: every element is looked into.
type Path struct {
	Column          // Mask and Method are the path's own
	Keys   []string // from the outermost object; never empty, compared exactly
}

// MaxKinds is the most kinds that a set can have.
const MaxKinds = 64

// Kind names objects of Kubernetes by their kind, as they write it themselves.
type Kind struct {
	Kind   string // compared exactly
	Mask   string
	Method Method
}

// Detection hides what a detector finds, in any value.
type Detection struct {
	Detector Detector
	Mask     string
	Method   Method
}

// Set is what is masked in one session: the masks of its resource, in the
// policy's order. The zero value masks nothing.
type Set struct {
	Columns []Column
	Paths   []Path
	Kinds   []Kind
	Detect  []Detection
}

// Empty reports whether the set masks nothing.
func (s *Set) Empty() bool { return !s.Placed() && len(s.Kinds) == 0 && len(s.Detect) == 0 }

// Placed reports whether the set names columns, so that it matters where a
// value comes from.
func (s *Set) Placed() bool { return len(s.Columns)+len(s.Paths) > 0 }
